-- From 1.0 to 1.1: what CREATE OR REPLACE FUNCTION cannot do. The build appends the functions, views and rights of
-- this version to it (Makefile). t/105_update.pl compares the result with a fresh installation, object by object.
--
-- All members of a group are updated together, at a standstill: docs/operations.md.

-- Settings of the whole group, by name; of each the row with the greatest (serial, set_by) counts. Replicated.
CREATE TABLE group_setting (
	name text NOT NULL,
	serial bigint NOT NULL,
	set_by integer NOT NULL,
	value text NOT NULL,
	set_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (name, serial, set_by)
);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON group_setting FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE group_setting ENABLE ALWAYS TRIGGER changed;
