-- What the pretended next version adds to a replicated table of the extension (catalog/agreement.c).
ALTER TABLE group_setting ADD COLUMN note text;
