-- Version 5: who came lately is found by what is new, however much is said meanwhile.

CREATE INDEX messages_system ON messages (id) WHERE kind = 'system';
