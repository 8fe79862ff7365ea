import axios, { AxiosError, AxiosHeaders } from 'axios';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';

import { Refused, Unreachable } from './errors';
import { Files } from './files';
import { LINK_KEPT_SHARE, PREVIEWS_MAX } from './limits';

const rest = {
  newFile: vi.fn(),
  fileLink: vi.fn(),
};
let files: Files;
const revoked = vi.fn();
let request: MockInstance<typeof axios.request>;

beforeEach(() => {
  rest.newFile.mockReset();
  rest.fileLink.mockReset();
  let count = 0;
  rest.newFile.mockImplementation(() => {
    count += 1;
    return Promise.resolve({
      fileId: `f${count}`,
      upload: {
        method: 'PUT',
        // As a server behind a proxy sees itself.
        url: `http://${window.location.host}/files/f${count}?signature=1`,
        headers: { 'If-None-Match': '*' },
        expiresAt: '',
      },
    });
  });
  URL.createObjectURL = (file) => `blob:${(file as File).name}`;
  revoked.mockReset();
  URL.revokeObjectURL = revoked;
  request = vi.spyOn(axios, 'request').mockResolvedValue({ status: 200 });
  files = new Files(rest);
});

afterEach(() => vi.restoreAllMocks());

const upload = (name: string, type: string) =>
  files.upload(new File(['12345'], name, { type }), () => undefined, new AbortController().signal);

describe('an upload', () => {
  it('is announced and put where the server says, by the page’s own protocol', async () => {
    const attachment = await upload('a.txt', '');
    expect(rest.newFile).toHaveBeenCalledWith({
      name: 'a.txt',
      size: 5,
      contentType: 'application/octet-stream',
    });
    expect(request.mock.calls[0]?.[0]).toMatchObject({
      method: 'PUT',
      url: `${window.location.origin}/files/f1?signature=1`,
      headers: { 'If-None-Match': '*' },
    });
    expect(attachment).toEqual({
      fileId: 'f1',
      name: 'a.txt',
      size: 5,
      contentType: 'application/octet-stream',
    });
    expect(files.preview('f1')).toBeUndefined();
  });

  it('of a picture is shown at once, and a bounded number of them is kept', async () => {
    await upload('a.png', 'image/png');
    expect(files.preview('f1')).toBe('blob:a.png');
    await upload('evil.svg', 'image/svg+xml');
    expect(files.preview('f2')).toBeUndefined();
    for (let index = 0; index < PREVIEWS_MAX; index += 1) await upload('b.png', 'image/png');
    expect(files.preview('f1')).toBeUndefined();
    expect(revoked).toHaveBeenCalledExactlyOnceWith('blob:a.png');
    files.close();
    expect(revoked).toHaveBeenCalledTimes(1 + PREVIEWS_MAX);
  });

  it('says why it failed', async () => {
    const answer = (status: number, data: unknown) =>
      new AxiosError('', '', undefined, undefined, {
        status,
        data,
        statusText: '',
        headers: {},
        config: { headers: new AxiosHeaders() },
      });
    const error = { code: 'too_large', message: 'more bytes than were announced' };
    request.mockRejectedValueOnce(answer(413, { error }));
    await expect(upload('a', '')).rejects.toEqual(new Refused(error as never));
    request.mockRejectedValueOnce(answer(403, '<Error>SignatureDoesNotMatch</Error>'));
    await expect(upload('a', '')).rejects.toBeInstanceOf(Refused);
    request.mockRejectedValueOnce(new AxiosError('Network Error'));
    await expect(upload('a', '')).rejects.toThrow('the server cannot be reached');
    rest.newFile.mockResolvedValueOnce({
      fileId: 'f',
      upload: { method: 'PUT', url: 'https://s3.example/f', headers: {}, expiresAt: '' },
    });
    request.mockRejectedValueOnce(new AxiosError('Network Error'));
    await expect(upload('a', '')).rejects.toEqual(
      new Unreachable('the file storage cannot be reached'),
    );
  });
});

describe('a link', () => {
  const lifeMs = 60_000;
  const kept = lifeMs * LINK_KEPT_SHARE;

  it('is asked for once while it is good, and again when it failed or was not good', async () => {
    rest.fileLink.mockResolvedValue({ url: 'https://s3.example/f1', lifeMs });
    expect(await files.link('f1', 0)).toBe('https://s3.example/f1');
    await files.link('f1', kept - 1);
    expect(rest.fileLink).toHaveBeenCalledTimes(1);
    await files.link('f1', kept);
    expect(rest.fileLink).toHaveBeenCalledTimes(2);
    files.forget('f1');
    rest.fileLink.mockRejectedValueOnce(new Unreachable());
    await expect(files.link('f1', kept)).rejects.toBeInstanceOf(Unreachable);
    await files.link('f1', kept);
    expect(rest.fileLink).toHaveBeenCalledTimes(4);
  });

  it('is asked for once however many ask meanwhile', async () => {
    rest.fileLink.mockResolvedValue({ url: 'https://s3.example/f1', lifeMs });
    await Promise.all([files.link('f1', 0), files.link('f1', 0)]);
    expect(rest.fileLink).toHaveBeenCalledTimes(1);
  });
});
