// Accounts by REST, with axios, on both stores.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startNode } from '../harness/node.mjs';
import { person, rest, socketOf } from '../harness/people.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';

for (const storeName of storeNames) {
  describe(`accounts on ${storeName}`, () => {
    let store;
    let node;
    let api;
    before(async () => {
      store = await openStore(storeName);
      node = await startNode(store.flags);
      api = rest(node.url);
    });
    after(async () => {
      await node?.stop();
      await store?.stop();
    });

    it('registers, and names the field that is taken', async () => {
      const body = { username: 'Ann.B-1', email: 'Ann@Example.org', password: 'eight ch' };
      const made = await api.post('/auth/register', body);
      assert.equal(made.status, 201);
      assert.match(made.data.user.id, /^[0-9a-f]{24}$/);
      assert.equal(made.data.user.username, 'Ann.B-1');
      assert.ok(made.data.accessToken && made.data.refreshToken);
      assert.match(made.data.expiresAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.equal(JSON.stringify(made.data).includes('password'), false);

      const sameName = await api.post('/auth/register', { ...body, username: 'ann.b-1', email: 'other@example.org' });
      assert.equal(sameName.status, 409);
      assert.ok(sameName.data.error.fields.username);
      const sameEmail = await api.post('/auth/register', { ...body, username: 'other', email: 'ann@example.ORG' });
      assert.equal(sameEmail.status, 409);
      assert.ok(sameEmail.data.error.fields.email);
    });

    it('refuses bad fields by name, 73-byte passwords and operator objects among them', async () => {
      const good = { username: 'good-name', email: 'good@example.org', password: 'good password' };
      const bad = [
        ['username', 'ab'],
        ['username', 'with blank'],
        ['username', 'x'.repeat(33)],
        ['username', { $ne: 1 }],
        ['email', 'nowhere'],
        ['email', ['a@b.example']],
        ['password', 'seven77'],
        ['password', 'x'.repeat(73)],
        ['password', 'é'.repeat(37)],
        ['password', { $gt: '' }],
        ['password', 12345678],
        ['password', null],
      ];
      for (const [field, value] of bad) {
        const answer = await api.post('/auth/register', { ...good, [field]: value });
        assert.equal(answer.status, 400, `${field} ${JSON.stringify(value)}`);
        assert.equal(answer.data.error.code, 'invalid');
        assert.ok(answer.data.error.fields[field], `${field} ${JSON.stringify(answer.data)}`);
      }
      const long = await api.post('/auth/register', { ...good, password: 'x'.repeat(72) });
      assert.equal(long.status, 201);
      const login = await api.post('/auth/login', { login: good.username, password: 'x'.repeat(73) });
      assert.notEqual(login.status, 200, 'a password is never cut');
    });

    it('logs in by username and by e-mail, and gives one answer for everything wrong', async () => {
      const ann = await person(node, 'login');
      for (const login of [ann.username, ann.username.toUpperCase(), ann.user.email ?? `${ann.username}@example.org`]) {
        const answer = await api.post('/auth/login', { login, password: ann.password });
        assert.equal(answer.status, 200, login);
        assert.equal(answer.data.user.id, ann.id);
      }
      const wrongPassword = await api.post('/auth/login', { login: ann.username, password: 'wrong password' });
      const wrongName = await api.post('/auth/login', { login: 'nobody-at-all', password: ann.password });
      assert.equal(wrongPassword.status, 401);
      assert.deepEqual(wrongName.data.error, wrongPassword.data.error);
      assert.equal(wrongName.status, wrongPassword.status);
      const operator = await api.post('/auth/login', { login: { $ne: null }, password: { $ne: null } });
      assert.equal(operator.status, 400);
    });

    it('rotates refresh tokens and revokes the family of one used twice', async () => {
      const ann = await person(node, 'refresh');
      const first = await api.post('/auth/refresh', { refreshToken: ann.refreshToken });
      assert.equal(first.status, 200);
      assert.notEqual(first.data.refreshToken, ann.refreshToken);
      const second = await api.post('/auth/refresh', { refreshToken: first.data.refreshToken });
      assert.equal(second.status, 200);
      const reused = await api.post('/auth/refresh', { refreshToken: ann.refreshToken });
      assert.equal(reused.status, 401);
      const heir = await api.post('/auth/refresh', { refreshToken: second.data.refreshToken });
      assert.equal(heir.status, 401, 'the whole family is revoked');
      const again = await api.post('/auth/login', { login: ann.username, password: ann.password });
      assert.equal(again.status, 200, 'another log-in is another family');
    });

    it('logs out', async () => {
      const ann = await person(node, 'logout');
      const socket = socketOf(node, { auth: { token: ann.token }, reconnection: false });
      await socket.hears('authenticated');
      assert.equal((await api.post('/auth/logout', { refreshToken: ann.refreshToken })).status, 204);
      assert.equal((await api.post('/auth/refresh', { refreshToken: ann.refreshToken })).status, 401);
      assert.equal((await api.post('/auth/logout', { refreshToken: ann.refreshToken })).status, 204);
      socket.disconnect();
    });

    it('shows and changes a profile, and finds people', async () => {
      const ann = await person(node, 'Profile');
      const bob = await person(node, 'profile');
      const me = await ann.api.get('/users/me');
      assert.equal(me.status, 200);
      assert.equal(me.data.user.id, ann.id);
      const changed = await ann.api.patch('/users/me', { username: `renamed-${ann.id.slice(-8)}`, avatar: 'https://example.org/a.png' });
      assert.equal(changed.status, 200);
      assert.equal(changed.data.user.avatar, 'https://example.org/a.png');
      const taken = await ann.api.patch('/users/me', { username: bob.username.toUpperCase() });
      assert.equal(taken.status, 409);
      assert.ok(taken.data.error.fields.username);
      const found = await ann.api.get('/users', { params: { q: bob.username.slice(0, -1).toUpperCase() } });
      assert.ok(found.data.users.some((user) => user.id === bob.id));
      assert.equal(JSON.stringify(found.data).includes('@example.org'), false, 'e-mail addresses are private');
      const profile = await ann.api.get(`/users/${bob.id}`);
      assert.equal(profile.data.user.username, bob.username);
      assert.equal(profile.data.user.status, 'offline');
      assert.equal((await ann.api.get('/users/000000000000000000000000')).status, 404);
    });

    it('asks for a token', async () => {
      const answer = await api.get('/users/me');
      assert.equal(answer.status, 401);
      assert.equal(answer.data.error.code, 'unauthorized');
      for (const token of ['x', 'a.b.c', `${'e30'}.${'e30'}.`]) {
        assert.equal((await rest(node.url, token).get('/users/me')).status, 401);
      }
    });
  });
}
