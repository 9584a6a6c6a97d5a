-- The schema is the extension's alone. One that is there already could hold somebody's functions and operators, which our own statements would call
-- as superuser; an empty one of a superuser's is what a restored dump has.
DO $$
DECLARE
	found record;
BEGIN
	SELECT r.rolname, r.rolsuper, EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
			AND d.refobjid OPERATOR(pg_catalog.=) n.oid AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass) AS used,
		EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) a
			WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner) AS shared
		INTO found
		FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
		WHERE n.nspname OPERATOR(pg_catalog.=) 'replication_plugin';
	IF found.used OR found.shared OR NOT found.rolsuper THEN
		RAISE EXCEPTION 'schema "replication_plugin" of role "%" exists already, and %', found.rolname,
			CASE WHEN found.used THEN 'is not empty' WHEN found.shared THEN 'others may create objects in it' ELSE 'its owner is no superuser' END
			USING ERRCODE = '42P06',
			HINT = 'The extension makes its schema itself. See what is in that one and whose it is; then DROP SCHEMA replication_plugin, or give it another name.';
	END IF;
END
$$;

-- Tables. What is replicated to all members is marked so; the rest is of this node alone.
-- Nobody but the owner reads them: people read the views.
--
-- Rows of replicated tables are either written by one node only, or never changed once they are
-- there: so no clock decides what the group looks like.

-- This database as a member of its group; at most one row.
CREATE TABLE local_node (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	group_id uuid NOT NULL,
	group_name text NOT NULL,
	node_id integer NOT NULL,
	node_name text NOT NULL,
	dsn text NOT NULL,
	state text NOT NULL,
	source_id integer,
	source_dsn text,
	copy_schema boolean NOT NULL DEFAULT true,
	copy_data boolean NOT NULL DEFAULT true,
	add_frontier text,
	schema_copied boolean NOT NULL DEFAULT false,
	progress text,
	last_error text,
	last_error_at timestamptz,
	failures integer NOT NULL DEFAULT 0, -- of the join worker in a row
	since_xid bigint NOT NULL, -- local rows of older transactions have the oldest version
	add_stable text, -- joining: what all members had by then
	add_lsn pg_lsn, -- joining: the source's transaction that admitted this node
	incarnation bigint NOT NULL DEFAULT 0, -- runs of this server as a member
	run_token bigint, -- the last of them
	run_start pg_lsn, -- end of the WAL when it began
	run_row pg_lsn, -- end of its first frontier row
	announced boolean NOT NULL DEFAULT true, -- false: ready, but not all members know; local writes wait for that
	copy_of integer, -- a physical copy of this member's server: what was local before since_xid is that member's ...
	copy_since bigint, -- ... if it is of this transaction or later
	failed_state text -- joining: the state in which last_error happened; forgotten when a later one is reached
);

-- Admissions: one row per node that is or was a member; a number is never used again. Written by the
-- node through which it joined. Replicated.
CREATE TABLE member (
	node_id integer PRIMARY KEY CHECK (node_id > 0),
	node_name text NOT NULL,
	dsn text NOT NULL,
	add_frontier text, -- frontier of the node that admitted it, at that moment; null for the first member
	add_fenced integer[], -- removed nodes from which that one took nothing any more
	source integer,
	added_at timestamptz NOT NULL DEFAULT now()
);

-- Members that take part like all others; written by themselves. Replicated.
CREATE TABLE member_ready (
	node_id integer PRIMARY KEY,
	ready_at timestamptz NOT NULL DEFAULT now()
);

-- Members that are out, for ever. Several nodes may remove one at the same time. Replicated.
CREATE TABLE removal (
	node_id integer NOT NULL,
	removed_by integer NOT NULL,
	reason text NOT NULL CHECK (reason IN ('left', 'removed', 'lost', 'needs_rejoin')),
	removed_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (node_id, removed_by)
);

-- Shapes that the topology was given; the row with the greatest (serial, set_by) counts. Replicated.
CREATE TABLE topology_setting (
	serial bigint NOT NULL,
	set_by integer NOT NULL,
	shape text NOT NULL CHECK (shape IN ('all_to_all', 'star', 'ring', 'custom')),
	nodes integer[] NOT NULL DEFAULT '{}', -- star: the hub first; ring: each takes from the one before it
	links integer[] NOT NULL DEFAULT '{}', -- custom: provider, subscriber, provider, ...
	set_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (serial, set_by)
);

-- How far each ready member has everybody's transactions, written by itself: its heartbeat. Replicated.
CREATE TABLE frontier (
	node_id integer PRIMARY KEY,
	vector text NOT NULL,
	fenced integer[] NOT NULL, -- removed nodes from which it takes nothing any more
	view text NOT NULL, -- which members are ready, and which topology counts, to its knowledge
	links jsonb NOT NULL, -- its incoming links, for people
	incarnation bigint NOT NULL, -- runs of its server, counted,
	run_token bigint NOT NULL, -- and the random number of this one: a server that was set back betrays itself
	written_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Tables that are not treated by the defaults. Replicated; read while decoding.
CREATE TABLE table_setting (
	schema_name text NOT NULL,
	table_name text NOT NULL,
	replicated boolean NOT NULL DEFAULT true,
	policy text NOT NULL DEFAULT 'last_write_wins'
		CHECK (policy IN ('last_write_wins', 'siblings', 'handler', 'node_priority', 'first_write_wins')),
	handler text, -- signature of the function of policy 'handler'
	PRIMARY KEY (schema_name, table_name)
) WITH (user_catalog_table = true);

-- Tables whose concurrent writes are kept and merged. A table that was made so once stays so; rows are never changed.
-- Replicated; read while decoding.
CREATE TABLE mergeable_table (
	schema_name text NOT NULL,
	table_name text NOT NULL,
	PRIMARY KEY (schema_name, table_name)
) WITH (user_catalog_table = true);

-- Tables of which a node has passed a write over, in that transaction, because the provider had overwritten the row by the time it was
-- asked for a value that was not sent; what replaces it comes with what the provider had then. Replicated with the transaction, to those who
-- get it from here; each node deletes by itself. Read while decoding.
CREATE TABLE awaited_state (
	schema_name text NOT NULL,
	table_name text NOT NULL,
	origin integer NOT NULL,
	origin_lsn pg_lsn NOT NULL,
	noted_by integer NOT NULL,
	until text NOT NULL, -- a frontier
	PRIMARY KEY (schema_name, table_name, origin, origin_lsn, noted_by)
) WITH (user_catalog_table = true);

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

-- Columns that merge by themselves. A column does so for ever, in one way, so that all nodes make the same of all writes;
-- when it is not wanted any more, new writes replace the value as a whole. Replicated.
CREATE TABLE column_merge (
	schema_name text NOT NULL,
	table_name text NOT NULL,
	column_name text NOT NULL,
	merge text NOT NULL CHECK (merge IN ('last_write_wins', 'counter', 'set', 'map')),
	retired boolean NOT NULL DEFAULT false,
	PRIMARY KEY (schema_name, table_name, column_name)
);

-- Whose writes win under policy 'node_priority'; the row with the greatest (serial, set_by) counts. Replicated.
CREATE TABLE node_priority (
	serial bigint NOT NULL,
	set_by integer NOT NULL,
	nodes integer[] NOT NULL,
	PRIMARY KEY (serial, set_by)
);

-- The run of each other node's server from which this node has last begun to take changes.
CREATE TABLE peer_run (
	node_id integer PRIMARY KEY,
	incarnation bigint NOT NULL,
	run_token bigint NOT NULL
);

-- Settings of the whole group, by name; of each the row with the greatest (serial, set_by) counts. Replicated.
CREATE TABLE group_setting (
	name text NOT NULL,
	serial bigint NOT NULL,
	set_by integer NOT NULL,
	value text NOT NULL,
	set_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (name, serial, set_by)
);

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

-- What this subscriber knows of its links.
CREATE TABLE link (
	provider integer PRIMARY KEY,
	paused boolean NOT NULL DEFAULT false,
	full_origins text NOT NULL DEFAULT 'own', -- 'own', 'all' or node numbers: what the provider sends in full
	skip_lsn pg_lsn[] NOT NULL DEFAULT '{}', -- skip_transaction(): end positions of the provider's transactions
	seen text, -- frontier text: what the provider had seen ...
	seen_lsn pg_lsn -- ... at this position of its stream
);

-- Deleted keys: the row's own commit timestamp and origin are the version of the delete.
CREATE TABLE tombstone (
	relid oid NOT NULL,
	key_hash bigint NOT NULL,
	key bytea NOT NULL
);
ALTER TABLE tombstone ALTER COLUMN key SET STORAGE MAIN;
CREATE INDEX tombstone_key ON tombstone (relid, key_hash);

-- Rows that are not shown, as newer ones are in their place by another unique key or an exclusion constraint. They keep
-- their versions, and come back when their place is free.
CREATE TABLE parked_row (
	relid oid NOT NULL,
	key_hash bigint NOT NULL,
	key bytea NOT NULL,
	ts bigint NOT NULL, -- version: microseconds since 2000, ...
	node integer NOT NULL, -- ... and node
	"row" bytea NOT NULL,
	index_id oid NOT NULL, -- of the constraint
	blocked_by bytea NOT NULL, -- key of a row that is in the way
	parked_at timestamptz NOT NULL,
	retry_at timestamptz, -- coming back failed: not before this
	error text
);
ALTER TABLE parked_row ALTER COLUMN key SET STORAGE MAIN;
CREATE INDEX parked_row_key ON parked_row (relid, key_hash);

-- Versions of rows that are not the ones of the transactions that wrote them here: rows that came back; and of those that may
-- be lost with PostgreSQL's commit data while they are needed: rows in the way of parked ones.
CREATE TABLE row_pin (
	relid oid NOT NULL,
	key_hash bigint NOT NULL,
	key bytea NOT NULL,
	writer bigint NOT NULL, -- transaction that wrote the row: with another one the pin means nothing
	ts bigint NOT NULL,
	node integer NOT NULL
);
ALTER TABLE row_pin ALTER COLUMN key SET STORAGE MAIN;
CREATE INDEX row_pin_key ON row_pin (relid, key_hash);

-- Tables whose rows ALTER TABLE has written anew: rows of that transaction, by commands before that one, are copies. They are older than all that
-- can arrive, unless they are pinned. A row goes when all members have what was here then.
CREATE TABLE table_rewrite (
	relid oid NOT NULL,
	xid bigint NOT NULL,
	before_cid bigint NOT NULL
);

-- Rows of mergeable tables that are not just what is in the table, written by the transaction that wrote it there: those with
-- concurrent values or merged columns, and deleted ones. The write of the transaction that stored such a row has its version from there.
CREATE TABLE row_state (
	relid oid NOT NULL,
	key_hash bigint NOT NULL,
	key bytea NOT NULL,
	siblings smallint NOT NULL, -- 0: the row in the table is the only one
	deleted boolean NOT NULL, -- its value is a delete, or all of its values are: goes when all have them
	merged boolean NOT NULL, -- has states of merged columns
	newest timestamptz, -- version of the newest value; null: of the transaction that stored this
	newest_node integer,
	state bytea NOT NULL -- store/row_state.c
) WITH (fillfactor = 50); -- room for the newer state of every row on its page: else each update makes an index entry
CREATE INDEX row_state_key ON row_state (relid, key_hash);

-- Mergeable tables of which no write from before they were so can come any more.
CREATE TABLE merge_settled (
	relid oid PRIMARY KEY
);

-- Writes that lost, or replaced a concurrent one.
CREATE TABLE conflict_log (
	detected_at timestamptz NOT NULL,
	relid oid NOT NULL,
	table_name text NOT NULL,
	conflict_type text NOT NULL,
	resolution text NOT NULL,
	row_key jsonb,
	local_row jsonb,
	local_origin integer,
	local_timestamp timestamptz,
	remote_row jsonb,
	remote_origin integer,
	remote_timestamp timestamptz,
	concurrent boolean, -- null: what it met is gone without a trace
	policy text,
	detail text
);
CREATE INDEX conflict_log_detected_at ON conflict_log (detected_at);

-- Counts of conflicts; each link worker updates rows of its own (provider), so none waits for another. Updated with
-- each transaction that has a conflict, by HOT updates.
CREATE TABLE conflict_count (
	provider integer NOT NULL,
	relid oid NOT NULL,
	table_name text NOT NULL,
	conflict_type text NOT NULL,
	resolution text NOT NULL,
	n bigint NOT NULL,
	last_at timestamptz NOT NULL,
	not_logged bigint NOT NULL, -- of n, those for which conflict_log has no row
	PRIMARY KEY (provider, relid, conflict_type, resolution)
) WITH (fillfactor = 50);

-- Joining: the part of the schema that comes after the rows; deleted by the transaction that has run it.
CREATE TABLE join_script (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	script bytea NOT NULL
);

-- Joining: what tables have besides their rows (kind 'state': mergeable ones; 'parked': those with several unique keys), until
-- these have their keys.
CREATE TABLE join_state (
	kind text NOT NULL,
	table_name text NOT NULL,
	state jsonb NOT NULL
);

-- The stable vector: what all members have, as their frontier rows say; and the one with which the group
-- slot was last moved, an upper bound of what is before it.
CREATE TABLE stable_point (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	vector text NOT NULL DEFAULT '',
	slot_vector text NOT NULL DEFAULT '',
	stable_xid bigint NOT NULL DEFAULT 0, -- what older transactions wrote here, all members have
	stable_seen text NOT NULL DEFAULT '', -- and what each node wrote through these timestamps
	slot_made boolean NOT NULL DEFAULT false, -- there is a group slot; if it is gone this node must join anew
	slot_lsn pg_lsn -- where it was moved to, at most; null: not known
) WITH (fillfactor = 50);

-- The key of the seals of logical messages (catalog/message_seal.c): whoever knows it can write in the name of every table's owner. Who may read all
-- data reads no row of it; it has no statistics. Read while decoding. It never changes.
CREATE TABLE message_secret (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	secret bytea NOT NULL
) WITH (user_catalog_table = true);
ALTER TABLE message_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE message_secret ALTER COLUMN secret SET STATISTICS 0;
INSERT INTO message_secret (secret) VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Slots that were copied from the group slot: where, and what all members had then.
CREATE TABLE slot_base (
	subscriber integer PRIMARY KEY,
	slot_lsn pg_lsn NOT NULL,
	vector text NOT NULL
);

-- Numbers and names promised to nodes that are about to join.
CREATE TABLE node_reservation (
	node_id integer PRIMARY KEY,
	node_name text NOT NULL,
	dsn text NOT NULL, -- of the joining node: it may try again
	reserved_at timestamptz NOT NULL DEFAULT now(),
	for_backup boolean NOT NULL DEFAULT false -- kept until it joins, with its slot: prepare_base_backup()
);
