-- From 1.0 to 1.1: what CREATE OR REPLACE FUNCTION cannot do. The build appends the functions, views and rights of
-- this version to it (Makefile). t/105_update.pl compares the result with a fresh installation, object by object.
--
-- All members of a group are updated together, at a standstill: docs/upgrade.md.

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

-- Tables of which changes got past the triggers on a node, so that nodes may differ (seen is null), each with the end of the transaction there;
-- and those of which a node has given its rows to all others since: seen is its frontier then. Rows are never changed. Replicated.
CREATE TABLE out_of_step (
	schema_name text NOT NULL,
	table_name text NOT NULL,
	node_id integer NOT NULL,
	lsn pg_lsn NOT NULL,
	what text NOT NULL,
	seen text,
	noted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (schema_name, table_name, node_id, lsn)
);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON out_of_step FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE out_of_step ENABLE ALWAYS TRIGGER changed;

-- Rules of which tables are left out, by names with stars, also of tables that do not exist yet: of those that match a table the one with the
-- greatest (serial, set_by) counts. Rows are never changed. Replicated; read while decoding.
CREATE TABLE exclusion (
	serial bigint NOT NULL,
	set_by integer NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	excluded boolean NOT NULL,
	set_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (serial, set_by)
) WITH (user_catalog_table = true);
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON exclusion FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE exclusion ENABLE ALWAYS TRIGGER changed;

ALTER TABLE local_node ADD COLUMN failed_state text;

-- Tables whose rows ALTER TABLE has written anew: rows of that transaction, by commands before that one, are copies. They are older than all that
-- can arrive, unless they are pinned. A row goes when all members have what was here then.
CREATE TABLE table_rewrite (
	relid oid NOT NULL,
	xid bigint NOT NULL,
	before_cid bigint NOT NULL
);

-- Triggers that were disabled, or enabled for some sessions only, fire always from here on.
SELECT replication_plugin.capture_install_all() WHERE EXISTS (SELECT FROM replication_plugin.local_node);

-- they have other arguments now
DROP FUNCTION forget_group();
DROP FUNCTION identity();
DROP FUNCTION link_states();
DROP FUNCTION member_has(integer, text, pg_lsn);
DROP FUNCTION knows_removed(text);
DROP FUNCTION teardown();

-- The run of each other node's server from which this node has last begun to take changes.
CREATE TABLE peer_run (
	node_id integer PRIMARY KEY,
	incarnation bigint NOT NULL,
	run_token bigint NOT NULL
);

-- Where the group slot was moved to.
ALTER TABLE stable_point ADD COLUMN slot_lsn pg_lsn;

-- The key of the seals of logical messages (catalog/message_seal.c): whoever knows it can write in the name of every table's owner. Who may read all
-- data reads no row of it; it has no statistics. Read while decoding. It never changes.
CREATE TABLE message_secret (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	secret bytea NOT NULL
) WITH (user_catalog_table = true);
ALTER TABLE message_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE message_secret ALTER COLUMN secret SET STATISTICS 0;
INSERT INTO message_secret (secret) VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Tables that wait: changes of them that arrive cannot be applied here now. All others go on meanwhile.
CREATE TABLE waiting_table (
	schema_name text NOT NULL,
	table_name text NOT NULL,
	number integer GENERATED ALWAYS AS IDENTITY, -- by which kept changes call the table
	kept boolean NOT NULL, -- its changes are kept; else they are passed over, and the table is out of step
	stable_xid bigint NOT NULL, -- stable_point.stable_xid when it began to wait: what is kept has seen rows of older transactions
	owner text NOT NULL, -- here; where it does not exist here, on the provider
	provider text NOT NULL,
	reason text NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	tries integer NOT NULL DEFAULT 0, -- that have failed, one after the other
	retry_at timestamptz, -- not before this
	tried_at timestamptz, -- the last try
	spent integer NOT NULL DEFAULT 0, -- milliseconds that it took, if it failed
	over integer NOT NULL DEFAULT 0, -- tries that have ended at the limit of time, one after the other
	for_origin integer, -- it began to wait for a transaction ...
	for_lsn pg_lsn, -- ... of that node: it does so until this node has that
	PRIMARY KEY (schema_name, table_name)
);

-- Changes of tables that wait, as they came, in the order of their ids; each is written by the transaction that it is of. Replicated, to those who get
-- that from here: there it is no row of this table, but the change that it holds. Each node deletes by itself.
CREATE TABLE waiting_change (
	id bigint GENERATED ALWAYS AS IDENTITY,
	kept_by integer NOT NULL, -- node; with id the key
	schema_name text NOT NULL,
	table_name text NOT NULL,
	provider integer NOT NULL, -- from whom it came
	origin integer NOT NULL, -- the transaction: node, position there, timestamp ...
	origin_lsn pg_lsn NOT NULL,
	commit_ts timestamptz NOT NULL,
	xid bigint NOT NULL, -- ... and number on the provider
	seen text NOT NULL, -- a frontier: what the provider had seen
	relation bytea NOT NULL, -- description of the table, as a message
	change bytea NOT NULL, -- the message
	layout text NOT NULL, -- of values in it
	decided boolean NOT NULL, -- forwarded by the source of a join, which had decided all conflicts
	relid bigint NOT NULL, -- the table's oid on the provider
	PRIMARY KEY (kept_by, id)
);
CREATE INDEX waiting_change_order ON waiting_change (schema_name, table_name, id, kept_by);
CREATE INDEX waiting_change_transaction ON waiting_change (origin, origin_lsn, schema_name, table_name, id, kept_by);
