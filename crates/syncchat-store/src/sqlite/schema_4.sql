-- Version 4: epochs, which tell one history of the data from another (core's `epoch`), and deleted
-- messages that hold nothing any more.

CREATE TABLE epochs (
    number INTEGER PRIMARY KEY,        -- rising
    epoch  BLOB NOT NULL
) STRICT;

UPDATE messages SET content = '', attachments = NULL
    WHERE deleted = 1 AND kind <> 'system' AND (content <> '' OR attachments IS NOT NULL);
