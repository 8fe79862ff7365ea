-- Version 3: a used refresh token can be presented again until its successor is used.

-- Both of the token that the family took out of use last; neither before the first use, nor where an
-- older release was the last to rotate.
ALTER TABLE refresh_families ADD COLUMN repeatable BLOB;   -- its hash
ALTER TABLE refresh_families ADD COLUMN salt BLOB;         -- makes its successor from it
