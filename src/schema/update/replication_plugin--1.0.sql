\echo Use "CREATE EXTENSION replication_plugin" to load this file. \quit
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
	copy_since bigint -- ... if it is of this transaction or later
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

-- The members and former members, as these tables have them.
CREATE VIEW node AS
	SELECT m.node_id, m.node_name, m.dsn,
		CASE WHEN r.reason IS NOT NULL THEN 'removed' WHEN y.node_id IS NOT NULL THEN 'ready' ELSE 'joining' END AS state,
		m.add_frontier, m.add_fenced, m.source, m.added_at, r.reason
	FROM replication_plugin.member m
	LEFT JOIN replication_plugin.member_ready y ON y.node_id = m.node_id
	LEFT JOIN (SELECT node_id, min(reason) AS reason FROM replication_plugin.removal GROUP BY 1) r ON r.node_id = m.node_id;
COMMENT ON VIEW node IS 'the members and former members';

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

-- Rows of mergeable tables that are not just what is in the table, written by the transaction that wrote it there: those with
-- concurrent values or merged columns, and deleted ones. The write of the transaction that stored such a row has its version from there.
CREATE TABLE row_state (
	relid oid NOT NULL,
	key_hash bigint NOT NULL,
	key bytea NOT NULL,
	siblings smallint NOT NULL, -- 0: the row in the table is the only one
	deleted boolean NOT NULL, -- one value, and that is a delete: goes when all have it
	merged boolean NOT NULL, -- has states of merged columns
	newest timestamptz, -- version of the newest value; null: of the transaction that stored this
	newest_node integer,
	state bytea NOT NULL -- conflict/row_state.c
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
	slot_made boolean NOT NULL DEFAULT false -- there is a group slot; if it is gone this node must join anew
) WITH (fillfactor = 50);

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
-- What SQL alone cannot do. These are for the functions of this extension and for its
-- workers on other nodes; nobody else may call them.

CREATE FUNCTION instance_token() RETURNS bigint
AS 'MODULE_PATHNAME', 'replication_plugin_instance_token' LANGUAGE C STRICT;
COMMENT ON FUNCTION instance_token() IS 'random number of this server''s run: tells a copy of a server from the server';

CREATE FUNCTION value_layout() RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_value_layout' LANGUAGE C STRICT;
COMMENT ON FUNCTION value_layout() IS 'memory layout of values; between servers with the same, values travel as they are';

CREATE FUNCTION dsn_without_password(dsn text) RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_dsn_without_password' LANGUAGE C STRICT;
COMMENT ON FUNCTION dsn_without_password(text) IS 'the dsn without its secrets; an error if it cannot be parsed';

CREATE FUNCTION check_own_dsn(dsn text) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_check_own_dsn' LANGUAGE C STRICT;
COMMENT ON FUNCTION check_own_dsn(text) IS 'an error unless the dsn leads to this very database';

CREATE FUNCTION remote_query(dsn text, sql text, before text DEFAULT '') RETURNS SETOF text[]
AS 'MODULE_PATHNAME', 'replication_plugin_remote_query' LANGUAGE C STRICT;
COMMENT ON FUNCTION remote_query(text, text, text) IS 'rows of a query on another node, as texts; before: a statement to run there first, in a transaction of its own';

CREATE FUNCTION flush_point() RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'replication_plugin_flush_point' LANGUAGE C STRICT;
COMMENT ON FUNCTION flush_point() IS 'writes a mark into the WAL, flushes it, and returns its position';

CREATE FUNCTION request_manager(in_group boolean) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_request_manager' LANGUAGE C STRICT;
COMMENT ON FUNCTION request_manager(boolean) IS
	'when the transaction commits: starts or wakes this database''s manager, and notes whether the database is in a group now';

CREATE FUNCTION suspend_workers() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_suspend_workers' LANGUAGE C STRICT;
COMMENT ON FUNCTION suspend_workers() IS 'has the manager end all other workers of this database until the transaction ends';

CREATE FUNCTION last_commit_lsn() RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'replication_plugin_last_commit_lsn' LANGUAGE C STRICT;
COMMENT ON FUNCTION last_commit_lsn() IS 'where the commit of this session''s last writing transaction ends in the WAL; null if there was none';

CREATE FUNCTION run_start() RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'replication_plugin_run_start' LANGUAGE C STRICT;
COMMENT ON FUNCTION run_start() IS 'end of the WAL when this run of the server began';

CREATE FUNCTION frontier() RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_frontier' LANGUAGE C STRICT;
COMMENT ON FUNCTION frontier() IS
	'how far this node has everybody''s transactions, itself included: "node:LSN:greatest commit timestamp in microseconds since 2000 or -", with commas between';

CREATE FUNCTION frontier_lsn(vector text, node_id integer) RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'replication_plugin_frontier_lsn' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION frontier_lsn(text, integer) IS 'a node''s position in a frontier, null if it has none';

CREATE FUNCTION frontier_ts(vector text, node_id integer) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'replication_plugin_frontier_ts' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION frontier_ts(text, integer) IS 'greatest timestamp of a node in a frontier, null if it has none';

CREATE FUNCTION frontier_covers(vector text, other text) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_frontier_covers' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION frontier_covers(text, text) IS 'whether a frontier covers all of another one';

CREATE FUNCTION clock_tick() RETURNS timestamptz
AS 'MODULE_PATHNAME', 'replication_plugin_clock_tick' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION clock_tick() IS
	'a timestamp greater than those of all transactions that were visible here, and less than those of all local ones to come: the hybrid logical clock';

CREATE FUNCTION observe_clock(timestamptz) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_observe_clock' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION observe_clock(timestamptz) IS 'all local transactions to come get a greater timestamp than this';

CREATE FUNCTION clock_offset(node_id integer) RETURNS interval
AS 'MODULE_PATHNAME', 'replication_plugin_clock_offset' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION clock_offset(integer) IS
	'by how much a node''s clock is ahead of this one''s, measured on the link from it within half the time of the round trip; null if there is none';

CREATE FUNCTION values_of_write(relation regclass, key_columns text[], key text[], columns text[], ts bigint, node_id integer, writer xid,
	OUT vals text[], OUT until text) RETURNS record
AS 'MODULE_PATHNAME', 'replication_plugin_values_of_write' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION values_of_write(regclass, text[], text[], text[], bigint, integer, xid) IS
	'what columns of the row of a key had when a write of that version (microseconds, node), in that transaction here, was the newest; null if they have been written since. until: what this node has; it sees all that is committed in the WAL, which others may see a little later';

CREATE FUNCTION siblings_of(relation regclass, key record, OUT version text, OUT node_id integer, OUT written_at timestamptz,
	OUT deleted boolean, OUT "row" json) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_siblings_of' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION siblings_of(regclass, record) IS 'the concurrent values of the row with the key of another row, newest first';

CREATE FUNCTION context_of(relation regclass, key record) RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_context_of' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION context_of(regclass, record) IS 'causal context of the row with the key of another row';

CREATE FUNCTION context_is_here(relation regclass, key record, context text) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_context_is_here' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION context_is_here(regclass, record, text) IS 'whether this node has had all that a context was read from';

CREATE FUNCTION stored_key(source text, place tid) RETURNS jsonb
AS 'MODULE_PATHNAME', 'replication_plugin_stored_key' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION stored_key(text, tid) IS
	'the key in a row of row_state or parked_row (or blocked_by there), if the caller may read the table that it is of';

CREATE FUNCTION parked_json(place tid) RETURNS jsonb
AS 'MODULE_PATHNAME', 'replication_plugin_parked_json' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION parked_json(tid) IS
	'the parked row in a row of parked_row, as jsonb made with the rights of its table''s owner, if the caller may read that table';

CREATE FUNCTION parked_of(anyelement) RETURNS SETOF anyelement
AS 'MODULE_PATHNAME', 'replication_plugin_parked_of' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION parked_of(anyelement) IS
	'the parked rows of a table as rows of that table: SELECT * FROM replication_plugin.parked_of(NULL::my_table)';

CREATE FUNCTION export_parked(relation regclass, since bigint) RETURNS SETOF jsonb
AS 'MODULE_PATHNAME', 'replication_plugin_export_parked' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION export_parked(regclass, bigint) IS
	'what a new member needs of a table whose rows can be in each other''s way besides its rows: parked ones, and versions of what was written by transaction since or later';

CREATE FUNCTION import_parked(relation regclass, entry jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_import_parked' LANGUAGE C STRICT;
COMMENT ON FUNCTION import_parked(regclass, jsonb) IS 'stores one of them';

CREATE FUNCTION export_states(relation regclass, since bigint) RETURNS SETOF jsonb
AS 'MODULE_PATHNAME', 'replication_plugin_export_states' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION export_states(regclass, bigint) IS
	'what a new member needs of a mergeable table besides its rows: siblings, deletes, and versions of what was written by transaction since or later';

CREATE FUNCTION import_state(relation regclass, state jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_import_state' LANGUAGE C STRICT;
COMMENT ON FUNCTION import_state(regclass, jsonb) IS 'stores one of them';

CREATE FUNCTION state_forgettable(state bytea, live boolean, stored_at timestamptz, stored_by integer, seen text) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_state_forgettable' LANGUAGE C STRICT;
COMMENT ON FUNCTION state_forgettable(bytea, boolean, timestamptz, integer, text) IS
	'whether all that a row state says of merged columns is covered by a vector of timestamps; the transaction that stored it has the version given';

CREATE FUNCTION check_merge(relation regclass, column_name text, merge text) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_check_merge' LANGUAGE C STRICT;
COMMENT ON FUNCTION check_merge(regclass, text, text) IS 'an error unless a column''s type can be merged like that';

CREATE FUNCTION check_handler(relation regclass, handler regprocedure) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_check_handler' LANGUAGE C STRICT;
COMMENT ON FUNCTION check_handler(regclass, regprocedure) IS 'an error unless a function can merge rows of a table';

CREATE FUNCTION call_handler(relation regclass, handler regprocedure, older record, newer record) RETURNS json
AS 'MODULE_PATHNAME', 'replication_plugin_call_handler' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION call_handler(regclass, regprocedure, record, record) IS 'what a function makes of two rows';

CREATE FUNCTION topology_plan(shape text, nodes integer[], links integer[], members integer[], sources integer[],
	me integer, down integer[], OUT provider integer, OUT subscriber integer, OUT reroute boolean, OUT full_origins integer[])
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_topology_plan' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION topology_plan(text, integer[], integer[], integer[], integer[], integer, integer[]) IS
	'the links of a topology among members (with the sources through which they joined), and what each carries in full; links to me from providers that are down are replaced';

CREATE FUNCTION topology_unreachable(shape text, nodes integer[], links integer[], members integer[], sources integer[])
RETURNS integer[]
AS 'MODULE_PATHNAME', 'replication_plugin_topology_unreachable' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION topology_unreachable(text, integer[], integer[], integer[], integer[]) IS
	'members that a topology does not connect with the first one, in both directions';

CREATE FUNCTION require_no_transaction(what text) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_require_no_transaction' LANGUAGE C STRICT;
COMMENT ON FUNCTION require_no_transaction(text) IS 'an error inside a transaction block';

CREATE FUNCTION loopback(sql text) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_loopback' LANGUAGE C STRICT;
COMMENT ON FUNCTION loopback(text) IS 'runs a statement in this database in a transaction of its own';

CREATE FUNCTION link_states(OUT provider integer, OUT state text, OUT pid integer,
	OUT received_lsn pg_lsn, OUT applied_lsn pg_lsn, OUT provider_lsn pg_lsn, OUT last_commit_at timestamptz,
	OUT transactions bigint, OUT rows bigint, OUT last_error text, OUT last_error_at timestamptz,
	OUT restarts bigint, OUT blocked_on integer, OUT blocked_lsn pg_lsn, OUT blocked_since timestamptz,
	OUT caught_up_at timestamptz, OUT full_origins text, OUT kind text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_link_states' LANGUAGE C STRICT;
COMMENT ON FUNCTION link_states() IS 'what this database''s link workers are doing';

CREATE FUNCTION manager_pid() RETURNS integer
AS 'MODULE_PATHNAME', 'replication_plugin_manager_pid' LANGUAGE C STRICT;
COMMENT ON FUNCTION manager_pid() IS 'process of this database''s manager, null if none';

CREATE FUNCTION origin_progress(node_id integer) RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'replication_plugin_origin_progress' LANGUAGE C STRICT;
COMMENT ON FUNCTION origin_progress(integer) IS 'how far a node''s transactions are applied here; null if there are none';

CREATE FUNCTION origin_progress_durable(node_id integer) RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'replication_plugin_origin_progress_durable' LANGUAGE C STRICT;
COMMENT ON FUNCTION origin_progress_durable(integer) IS 'the same, and makes it survive a crash';

CREATE FUNCTION invalidate_table(relation regclass) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_invalidate_table' LANGUAGE C STRICT;
COMMENT ON FUNCTION invalidate_table(regclass) IS 'makes everybody look at a table''s settings again, also decoding, in stream order';

CREATE FUNCTION reload_origins() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_reload_origins' LANGUAGE C STRICT;
COMMENT ON FUNCTION reload_origins() IS 'tells the server of origins that were made by SQL';

CREATE FUNCTION drop_origins() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_drop_origins' LANGUAGE C STRICT;
COMMENT ON FUNCTION drop_origins() IS 'drops all replication origins of this database''s group';

CREATE FUNCTION capture_install(relation regclass) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_capture_install' LANGUAGE C STRICT;
CREATE FUNCTION capture_install_all() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_capture_install_all' LANGUAGE C STRICT;
CREATE FUNCTION capture_remove_all() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_capture_remove_all' LANGUAGE C STRICT;
COMMENT ON FUNCTION capture_install(regclass) IS 'gives a table the internal triggers that it needs';
COMMENT ON FUNCTION capture_install_all() IS 'gives all tables the internal triggers that they need';
COMMENT ON FUNCTION capture_remove_all() IS 'removes the internal triggers of this extension';

CREATE FUNCTION copy_table(snapshot text, schema_name text, table_name text, columns text[], with_children boolean,
	as_binary boolean, empty_first boolean, OUT rows bigint, OUT bytes bigint)
AS 'MODULE_PATHNAME', 'replication_plugin_copy_table' LANGUAGE C STRICT;
COMMENT ON FUNCTION copy_table(text, text, text, text[], boolean, boolean, boolean) IS
	'joining: copies a table from the source''s snapshot';

CREATE FUNCTION require_join_programs(source_version integer) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_require_join_programs' LANGUAGE C STRICT;
COMMENT ON FUNCTION require_join_programs(integer) IS 'an error unless this server can copy a schema from that version';

-- triggers
CREATE FUNCTION capture_write() RETURNS trigger
AS 'MODULE_PATHNAME', 'replication_plugin_capture_write' LANGUAGE C;
CREATE FUNCTION capture_row() RETURNS trigger
AS 'MODULE_PATHNAME', 'replication_plugin_capture_row' LANGUAGE C;
CREATE FUNCTION capture_truncate() RETURNS trigger
AS 'MODULE_PATHNAME', 'replication_plugin_capture_truncate' LANGUAGE C;
CREATE FUNCTION capture_no_key() RETURNS trigger
AS 'MODULE_PATHNAME', 'replication_plugin_capture_no_key' LANGUAGE C;
CREATE FUNCTION capture_ddl() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'replication_plugin_capture_ddl' LANGUAGE C;
CREATE FUNCTION settings_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'replication_plugin_settings_changed' LANGUAGE C;
CREATE FUNCTION raise_stable_point() RETURNS trigger
AS 'MODULE_PATHNAME', 'replication_plugin_raise_stable_point' LANGUAGE C;
COMMENT ON FUNCTION capture_row() IS 'trigger: remembers deleted keys';
COMMENT ON FUNCTION capture_write() IS 'trigger: makes writes of a mergeable table operations with their context';
COMMENT ON FUNCTION capture_truncate() IS 'trigger: remembers the keys that a TRUNCATE deletes';
COMMENT ON FUNCTION capture_no_key() IS 'trigger: refuses UPDATE and DELETE where rows have no key';
COMMENT ON FUNCTION capture_ddl() IS 'event trigger: keeps the internal triggers right after DDL';
COMMENT ON FUNCTION settings_changed() IS 'trigger: wakes the manager, drops caches';
COMMENT ON FUNCTION raise_stable_point() IS 'trigger: brings the stable vector up to date with a frontier row, or before and after the members change';

-- They fire also for rows that arrive from other nodes.
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['local_node', 'member', 'member_ready', 'removal', 'topology_setting', 'link', 'table_setting', 'mergeable_table', 'column_merge', 'node_priority', 'awaited_state'] LOOP
		EXECUTE format('CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON replication_plugin.%I'
			' FOR EACH ROW EXECUTE FUNCTION replication_plugin.settings_changed()', t);
		EXECUTE format('ALTER TABLE replication_plugin.%I ENABLE ALWAYS TRIGGER changed', t);
	END LOOP;
END
$$;
CREATE TRIGGER stable AFTER INSERT OR UPDATE ON frontier
	FOR EACH ROW EXECUTE FUNCTION raise_stable_point();
ALTER TABLE frontier ENABLE ALWAYS TRIGGER stable;
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['member', 'removal'] LOOP
		EXECUTE format('CREATE TRIGGER stable_before BEFORE INSERT ON replication_plugin.%I'
			' FOR EACH ROW EXECUTE FUNCTION replication_plugin.raise_stable_point()', t);
		EXECUTE format('CREATE TRIGGER stable_after AFTER INSERT OR UPDATE ON replication_plugin.%I'
			' FOR EACH ROW EXECUTE FUNCTION replication_plugin.raise_stable_point()', t);
		EXECUTE format('ALTER TABLE replication_plugin.%I ENABLE ALWAYS TRIGGER stable_before, ENABLE ALWAYS TRIGGER stable_after', t);
	END LOOP;
END
$$;

CREATE EVENT TRIGGER replication_plugin_ddl ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'CREATE INDEX',
				 'ALTER INDEX', 'DROP INDEX', 'CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE SCHEMA', 'CREATE EXTENSION',
				 'ALTER EXTENSION')
	EXECUTE FUNCTION capture_ddl();
ALTER EVENT TRIGGER replication_plugin_ddl ENABLE ALWAYS;
-- Functions that the extension's own processes call, here and from other nodes.

-- This node's number, null if the database is in no group.
CREATE FUNCTION my_id() RETURNS integer LANGUAGE sql STABLE
AS 'SELECT node_id FROM replication_plugin.local_node';
COMMENT ON FUNCTION my_id() IS 'number of this node; null if the database is in no group';

-- Names of slots and origins; see catalog/names.c.
CREATE FUNCTION slot_name(subscriber integer) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_' || subscriber FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION slot_name(integer) IS 'name of the slot here that feeds a subscriber';
CREATE FUNCTION group_slot_name() RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_group' FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION group_slot_name() IS 'name of the inactive slot that keeps what any member may lack';
CREATE FUNCTION origin_name(node text) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT 'replication_plugin_' || oid || '_' || node FROM pg_database WHERE datname = current_database() $$;
COMMENT ON FUNCTION origin_name(text) IS 'name of the replication origin here that marks a node''s transactions';

-- Who answers here: for nodes that want to join or to check a dsn.
CREATE FUNCTION identity(OUT group_id uuid, OUT group_name text, OUT node_id integer, OUT node_name text,
	OUT state text, OUT encoding text, OUT server_version_num integer, OUT instance_token bigint,
	OUT system_identifier text, OUT layout text, OUT database_oid oid)
LANGUAGE sql VOLATILE
AS $$
	SELECT l.group_id, l.group_name, l.node_id, l.node_name, l.state, getdatabaseencoding(),
		current_setting('server_version_num')::integer, replication_plugin.instance_token(),
		c.system_identifier::text, replication_plugin.value_layout(), d.oid
	FROM pg_control_system() c, pg_database d
	LEFT JOIN replication_plugin.local_node l ON true
	WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION identity() IS 'who answers here: for nodes that want to join, or check a dsn';

-- The members and former members.
CREATE FUNCTION members(OUT node_id integer, OUT node_name text, OUT dsn text, OUT state text)
RETURNS SETOF record LANGUAGE sql STABLE
AS 'SELECT node_id, node_name, dsn, state FROM replication_plugin.node ORDER BY node_id';
COMMENT ON FUNCTION members() IS 'the members and former members';

-- Notes that this node learned from another that it is out, or must join anew.
CREATE FUNCTION note_expulsion(new_state text, why text) RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node SET state = $1, last_error = $2, last_error_at = clock_timestamp()
	WHERE state IN ('ready', 'leaving')
$$;
COMMENT ON FUNCTION note_expulsion(text, text) IS 'notes that this node is out (removed), or must join anew (needs_rejoin)';

-- An error if a node has been set back (an old backup restored, a copy put in its place). What tells: we know of a later run, or
-- of the same run of another server; or we have of its transactions what comes after the first frontier row of
-- its present run, but not that row.
CREATE FUNCTION check_run(peer integer, incarnation bigint, run_token bigint, run_start pg_lsn, run_row pg_lsn) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	have pg_lsn := replication_plugin.origin_progress(peer);
	known replication_plugin.frontier;
	name text := (SELECT n.node_name FROM replication_plugin.node n WHERE n.node_id = peer);
BEGIN
	SELECT * INTO known FROM replication_plugin.frontier f WHERE f.node_id = peer;
	IF NOT FOUND THEN
		RETURN; -- it has only just become a member
	END IF;
	IF known.incarnation > $2 OR known.incarnation = $2 AND known.run_token <> $3 OR known.incarnation < $2 AND have >= $5 THEN
		RAISE EXCEPTION 'node "%" was restored from an old backup', name USING ERRCODE = 'RP002',
			DETAIL = format('Other nodes have its transactions up to %s of run %s; it is in run %s, which began at %s.',
				have, known.incarnation, $2, $4),
			HINT = 'SELECT replication_plugin.rejoin() on it makes it equal to the others again.';
	END IF;
	IF known.incarnation < $2 AND have > $4 THEN
		RAISE EXCEPTION 'node "%" has been started again, or was restored from an old backup: which of the two is not known yet', name
			USING ERRCODE = '55000', DETAIL = format('Other nodes have its transactions up to %s; its present run began at %s.', have, $4),
			HINT = 'If this stays: SELECT replication_plugin.remove_node() of it, then replication_plugin.rejoin() on it.';
	END IF;
END
$$;
COMMENT ON FUNCTION check_run(integer, bigint, bigint, pg_lsn, pg_lsn) IS 'an error if a node has been set back to an earlier state';

-- The slot that feeds a subscriber. If there is none, it is made from the group slot, which has everything that any member
-- may lack. base: what all members had when it was copied, while nothing has been taken from it; the subscriber has it as well.
CREATE FUNCTION provide_slot(subscriber integer, OUT slot_name text, OUT base text) LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
	copied_at pg_lsn;
BEGIN
	slot_name := replication_plugin.slot_name($1);
	SELECT r.confirmed_flush_lsn, r.wal_status, r.active INTO s FROM pg_replication_slots r WHERE r.slot_name = provide_slot.slot_name;
	IF FOUND AND NOT (s.wal_status = 'lost' AND NOT s.active) THEN
		IF s.confirmed_flush_lsn IS NULL THEN
			slot_name := NULL;
		END IF;
		SELECT b.vector INTO base FROM replication_plugin.slot_base b
			WHERE b.subscriber = $1 AND s.confirmed_flush_lsn <= b.slot_lsn;
		RETURN;
	END IF;
	IF FOUND THEN
		PERFORM pg_drop_replication_slot(slot_name);
	END IF;
	IF NOT EXISTS (SELECT FROM replication_plugin.stable_point p JOIN pg_replication_slots r
		ON r.slot_name = replication_plugin.group_slot_name() AND r.wal_status <> 'lost' WHERE p.slot_made) THEN
		slot_name := NULL; -- not made yet, or lost: then the node itself says so
		RETURN;
	END IF;
	SELECT c.lsn INTO copied_at FROM pg_copy_logical_replication_slot(replication_plugin.group_slot_name(), slot_name) c;
	-- read after the copy, as it is written before the group slot moves: so it covers all that is before the copy
	SELECT p.slot_vector INTO base FROM replication_plugin.stable_point p;
	INSERT INTO replication_plugin.slot_base AS o VALUES ($1, copied_at, base)
		ON CONFLICT ON CONSTRAINT slot_base_pkey DO UPDATE SET slot_lsn = excluded.slot_lsn, vector = excluded.vector;
END
$$;
COMMENT ON FUNCTION provide_slot(integer) IS 'the slot that feeds a subscriber, made from the group slot if there is none';

-- A subscriber introduces itself and learns its slot (null: not made yet).
CREATE FUNCTION handshake(caller_group uuid, caller_id integer, caller_protocol integer, caller_incarnation bigint,
	caller_token bigint, caller_start pg_lsn, caller_row pg_lsn, OUT node_id integer, OUT node_name text, OUT slot_name text, OUT encoding text,
	OUT base text, OUT incarnation bigint, OUT run_token bigint, OUT run_start pg_lsn, OUT run_row pg_lsn)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	caller replication_plugin.node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.state = 'left' THEN
		RAISE EXCEPTION 'database "%" is in no replication group', current_database() USING ERRCODE = '55000',
			HINT = 'The node may have left its group; then remove it with replication_plugin.remove_node().';
	END IF;
	IF l.group_id <> $1 THEN
		RAISE EXCEPTION 'node "%" is in another group: "%" (%), not %', l.node_name, l.group_name, l.group_id, $1
			USING ERRCODE = '55000', HINT = 'Groups are told apart by their ids, not by their names. Check the dsn.';
	END IF;
	IF $3 <> 4 THEN
		RAISE EXCEPTION 'node "%" speaks protocol 4, not %', l.node_name, $3 USING ERRCODE = '0A000',
			HINT = 'Install the same version of replication_plugin on all nodes.';
	END IF;
	IF l.state IN ('removed', 'needs_rejoin') THEN
		RAISE EXCEPTION 'node "%" is out of its group: %', l.node_name, l.state USING ERRCODE = '55000',
			HINT = 'It takes part again after rejoin() on it.';
	END IF;
	SELECT * INTO caller FROM replication_plugin.node n WHERE n.node_id = $2;
	IF caller.state = 'removed' THEN
		PERFORM replication_plugin.flush_point(); -- what it is told must survive a crash here
		RAISE EXCEPTION 'node "%" (%) has been removed from the group', caller.node_name, $2 USING
			ERRCODE = CASE caller.reason WHEN 'needs_rejoin' THEN 'RP002' ELSE 'RP001' END,
			DETAIL = CASE caller.reason WHEN 'needs_rejoin' THEN 'It was away for longer than WAL is kept for it.'
				ELSE format('Reason: %s.', caller.reason) END,
			HINT = 'SELECT replication_plugin.rejoin() on it takes it in again, with the rows of the others; forget_group() makes it a database of its own.';
	END IF;
	node_id := l.node_id;
	node_name := l.node_name;
	encoding := getdatabaseencoding();
	incarnation := l.incarnation;
	run_token := l.run_token;
	run_start := l.run_start;
	run_row := l.run_row;
	IF caller.node_id IS NULL AND l.state LIKE 'joining%' THEN
		RETURN; -- we are new ourselves and do not know the members yet: no slot so far
	END IF;
	IF caller.node_id IS NULL THEN
		RAISE EXCEPTION 'node % is not known to node "%"', $2, l.node_name USING ERRCODE = '55000',
			HINT = 'It becomes known when the news of its joining arrives here.';
	END IF;
	IF l.state NOT IN ('ready', 'leaving') OR l.run_row IS NULL OR l.run_token IS DISTINCT FROM replication_plugin.instance_token()
		OR caller.state = 'ready' AND $7 IS NULL THEN
		RETURN; -- soon: the first frontier row of a run comes first
	END IF;
	IF caller.state = 'ready' THEN
		PERFORM replication_plugin.check_run($2, $4, $5, $6, $7);
	END IF;
	IF caller.state = 'ready' THEN
		SELECT p.slot_name, p.base INTO slot_name, base FROM replication_plugin.provide_slot($2) p;
		RETURN;
	END IF;
	-- it is joining through us, from a slot that it has made itself: no other would do
	SELECT s.slot_name INTO slot_name FROM pg_replication_slots s
		WHERE s.slot_name = replication_plugin.slot_name($2) AND s.confirmed_flush_lsn IS NOT NULL AND s.wal_status <> 'lost';
	IF slot_name IS NULL AND caller.source = l.node_id THEN
		RAISE EXCEPTION 'the slot that node "%" kept for node "%" is gone', l.node_name, caller.node_name USING ERRCODE = '55000',
			HINT = 'What was written there meanwhile is missing here. Call leave_group() on the new node, and join anew.';
	END IF;
END
$$;
COMMENT ON FUNCTION handshake(uuid, integer, integer, bigint, bigint, pg_lsn, pg_lsn) IS 'a subscriber introduces itself and learns its slot (null: not made yet)';

-- Promises a number and a name to a node that wants to join. An hour later they are free again.
CREATE FUNCTION reserve_node(group_id uuid, node_id integer, node_name text, dsn text) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.group_id <> $1 OR l.state <> 'ready' OR NOT l.announced THEN
		RAISE EXCEPTION 'this is no ready member of group %', $1 USING ERRCODE = '55000';
	END IF;
	LOCK TABLE replication_plugin.node_reservation IN EXCLUSIVE MODE;
	DELETE FROM replication_plugin.node_reservation r WHERE NOT r.for_backup AND (r.reserved_at < now() - interval '1 hour' OR r.dsn = $4)
		OR EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = r.node_id);
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_name = $3 AND n.state <> 'removed')
		OR EXISTS (SELECT FROM replication_plugin.node_reservation r WHERE r.node_name = $3) THEN
		RAISE EXCEPTION 'node name "%" is taken', $3 USING ERRCODE = '42710',
			HINT = 'Choose another name, or remove the node of that name first.';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = $2)
		OR EXISTS (SELECT FROM replication_plugin.node_reservation r WHERE r.node_id = $2) THEN
		-- join_group() then tries the next number
		RAISE EXCEPTION 'node number % is taken', $2 USING ERRCODE = '55P03',
			HINT = 'Another node is joining at the same time. Try again.';
	END IF;
	INSERT INTO replication_plugin.node_reservation (node_id, node_name, dsn) VALUES ($2, $3, $4);
END
$$;
COMMENT ON FUNCTION reserve_node(uuid, integer, text, text) IS 'promises a number and a name to a node that wants to join';

-- Takes a member out that has said itself that it must join anew.
CREATE FUNCTION expel(group_id uuid, node_id integer) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
		SELECT n.node_id, l.node_id, 'needs_rejoin' FROM replication_plugin.node n, replication_plugin.local_node l
		WHERE l.group_id = $1 AND n.node_id = $2 AND n.state <> 'removed' AND l.state = 'ready'
		ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION expel(uuid, integer) IS 'takes a member out that must join anew';

-- Greatest number that is used or promised here.
CREATE FUNCTION last_node_id() RETURNS integer LANGUAGE sql VOLATILE
AS $$
	SELECT max(i) FROM (SELECT node_id FROM replication_plugin.node
		UNION ALL SELECT node_id FROM replication_plugin.node_reservation) u(i)
$$;
COMMENT ON FUNCTION last_node_id() IS 'greatest node number that is used or promised here';

-- add(J) of the join: from here on the group knows the node. Returns the frontier at this moment, and what all members have.
CREATE FUNCTION admit_node(group_id uuid, node_id integer, node_name text, dsn text, OUT frontier text, OUT stable text)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	fenced_now integer[] := replication_plugin.fenced_nodes(); -- before the frontier is read
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.group_id <> $1 OR l.state <> 'ready' OR NOT l.announced THEN
		RAISE EXCEPTION 'this is no ready member of group %', $1 USING ERRCODE = '55000';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = $2
		AND (n.state <> 'joining' OR n.node_name <> $3 OR n.source <> l.node_id)) THEN
		RAISE EXCEPTION 'node number % is taken', $2 USING ERRCODE = '42710',
			HINT = 'Call leave_group() on the new node and join again.';
	END IF;
	SELECT p.vector INTO stable FROM replication_plugin.stable_point p WHERE p.slot_made;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'node "%" has no group slot yet', l.node_name USING ERRCODE = '55000',
			HINT = 'It is made when the transactions that are open there have ended.';
	END IF;
	frontier := replication_plugin.frontier();
	INSERT INTO replication_plugin.member AS n (node_id, node_name, dsn, add_frontier, add_fenced, source)
		VALUES ($2, $3, $4, frontier, fenced_now, l.node_id)
		ON CONFLICT ON CONSTRAINT member_pkey DO UPDATE SET dsn = excluded.dsn, add_frontier = excluded.add_frontier,
			add_fenced = excluded.add_fenced, added_at = now();
END
$$;
COMMENT ON FUNCTION admit_node(uuid, integer, text, text) IS 'makes a joining node known to the group; returns this node''s frontier';

-- Removed nodes from which nothing is taken any more, also not what was received before.
CREATE FUNCTION fenced_nodes() RETURNS integer[] LANGUAGE sql VOLATILE
AS $$
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}') FROM replication_plugin.node n
	WHERE n.state = 'removed' AND NOT EXISTS (SELECT FROM replication_plugin.link_states() s WHERE s.provider = n.node_id)
$$;
COMMENT ON FUNCTION fenced_nodes() IS 'removed nodes from which nothing is taken any more';

-- What links are worked out from, as this node knows it: which members are ready, and the topology.
CREATE FUNCTION group_view() RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT coalesce((SELECT string_agg(node_id::text, ',' ORDER BY node_id) FROM replication_plugin.node WHERE state = 'ready'), '')
		|| coalesce((SELECT format(' %s/%s', serial, set_by) FROM replication_plugin.topology_setting ORDER BY serial DESC, set_by DESC LIMIT 1), '')
$$;
COMMENT ON FUNCTION group_view() IS 'what links are worked out from, as this node knows it';

-- Whether all members see what this node sees. Until then links of an earlier view must stay: if nodes that know different
-- things each let go of them, the group could fall into parts that never hear of each other again.
CREATE FUNCTION view_is_common() RETURNS boolean LANGUAGE sql STABLE
AS $$
	SELECT NOT EXISTS (SELECT FROM replication_plugin.node n LEFT JOIN replication_plugin.frontier f USING (node_id), replication_plugin.group_view() g
		WHERE n.state = 'ready' AND n.node_id <> replication_plugin.my_id() AND f.view IS DISTINCT FROM g)
$$;
COMMENT ON FUNCTION view_is_common() IS 'whether all members know the same members and topology';

-- A node that has just become ready takes writes when all members know that it is: then nobody takes it for one that did not get
-- there. known_at: LSN of a transaction of it, after the one that made it ready. True if that is so.
CREATE FUNCTION announce(known_at pg_lsn) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	missing text;
BEGIN
	SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO missing FROM replication_plugin.node n
		LEFT JOIN replication_plugin.frontier f USING (node_id), replication_plugin.local_node l
		WHERE n.state = 'ready' AND n.node_id <> l.node_id
			AND coalesce(replication_plugin.frontier_lsn(coalesce(f.vector, n.add_frontier), l.node_id) < $1, true);
	missing := 'waiting until all know that it is ready: ' || missing;
	UPDATE replication_plugin.local_node SET announced = missing IS NULL, progress = missing
		WHERE NOT announced AND (announced, progress) IS DISTINCT FROM (missing IS NULL, missing);
	RETURN missing IS NULL;
END
$$;
COMMENT ON FUNCTION announce(pg_lsn) IS 'lets a node that has become ready take writes when all members know';

-- Tells the group how far this node is. Which nodes it is cut off from is read before how far it has come.
CREATE FUNCTION write_frontier_row() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	fenced_now integer[] := replication_plugin.fenced_nodes();
	links_now jsonb := (SELECT coalesce(jsonb_object_agg(s.provider::text, jsonb_build_object('kind', s.kind, 'state', s.state,
		'full', s.full_origins, 'lag', greatest(s.provider_lsn - s.applied_lsn, 0))), '{}') FROM replication_plugin.link_states() s);
BEGIN
	INSERT INTO replication_plugin.frontier AS f (node_id, vector, fenced, view, links, incarnation, run_token, written_at)
		SELECT l.node_id, replication_plugin.frontier(), fenced_now, replication_plugin.group_view(), links_now, l.incarnation, l.run_token, clock_timestamp()
		FROM replication_plugin.local_node l WHERE l.run_token = replication_plugin.instance_token()
		ON CONFLICT ON CONSTRAINT frontier_pkey DO UPDATE SET vector = excluded.vector, fenced = excluded.fenced, view = excluded.view,
			links = excluded.links, incarnation = excluded.incarnation, run_token = excluded.run_token, written_at = excluded.written_at;
END
$$;
COMMENT ON FUNCTION write_frontier_row() IS 'tells the group how far this node is';

-- Makes the slot that keeps what any member may lack. Once: from then on there must be one.
CREATE FUNCTION make_group_slot() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = replication_plugin.group_slot_name()) THEN
		PERFORM pg_create_logical_replication_slot(replication_plugin.group_slot_name(), 'replication_plugin');
	END IF;
	UPDATE replication_plugin.stable_point SET slot_made = true;
END
$$;
COMMENT ON FUNCTION make_group_slot() IS 'makes the slot that keeps what any member may lack';

-- Every new run of the server is noted before it takes part: see check_run().
CREATE FUNCTION note_run() RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node SET incarnation = incarnation + 1, run_token = replication_plugin.instance_token(),
		run_start = replication_plugin.run_start(), run_row = NULL WHERE run_token IS DISTINCT FROM replication_plugin.instance_token()
$$;
COMMENT ON FUNCTION note_run() IS 'notes that the server runs anew';

-- The topology that is in force. Without a row all nodes are linked with all.
CREATE FUNCTION current_topology(OUT shape text, OUT nodes integer[], OUT links integer[], OUT serial bigint) LANGUAGE sql STABLE
AS $$
	SELECT t.shape, t.nodes, t.links, t.serial FROM (
		SELECT shape, nodes, links, serial, set_by FROM replication_plugin.topology_setting
		UNION ALL SELECT 'all_to_all', '{}', '{}', 0, 0) t
	ORDER BY t.serial DESC, t.set_by DESC LIMIT 1
$$;
COMMENT ON FUNCTION current_topology() IS 'the topology that is in force';

-- The links of the whole group; to this node, those from providers that are down are replaced.
CREATE FUNCTION planned_links(down integer[], OUT provider integer, OUT subscriber integer, OUT reroute boolean, OUT full_origins integer[])
RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	SELECT p.* FROM replication_plugin.current_topology() t,
		(SELECT coalesce(array_agg(node_id ORDER BY node_id), '{}') AS members, coalesce(array_agg(coalesce(source, 0) ORDER BY node_id), '{}') AS sources
		 FROM replication_plugin.node WHERE state = 'ready') m,
		replication_plugin.topology_plan(t.shape, t.nodes, t.links, m.members, m.sources, coalesce(replication_plugin.my_id(), 0), $1) p
$$;
COMMENT ON FUNCTION planned_links(integer[]) IS 'the links of the group; to this node, those from providers that are down are replaced';

-- The links that this node takes changes from. Those that are down stay wanted, beside what replaces them ("reroute"); what
-- replaces them may be down as well, and so on. From a node that joins through this one there is a link as well: by it the group
-- learns that it is ready.
CREATE FUNCTION wanted_links(down integer[], OUT provider integer, OUT full_origins text, OUT kind text)
RETURNS SETOF record LANGUAGE sql STABLE
AS $$
	WITH RECURSIVE s(replaced) AS (
		SELECT '{}'::integer[]
		UNION SELECT ARRAY(SELECT unnest(s.replaced) UNION SELECT p.provider FROM replication_plugin.planned_links(s.replaced) p
			WHERE p.subscriber = replication_plugin.my_id() AND p.provider = ANY ($1) ORDER BY 1)
		FROM s WHERE $1 <> '{}')
	SELECT p.provider, coalesce(string_agg(DISTINCT o::text, ',') FILTER (WHERE o <> p.provider), 'own'),
		CASE WHEN bool_and(p.reroute) THEN 'reroute' ELSE 'topology' END
	FROM (SELECT p.* FROM s, replication_plugin.planned_links(s.replaced) p) p,
		-- the first transaction of a new node comes the way of its source's
		LATERAL (SELECT unnest(p.full_origins) UNION SELECT n.node_id FROM replication_plugin.node n
			WHERE n.state = 'joining' AND n.source = ANY (p.full_origins)) f(o)
	WHERE p.subscriber = replication_plugin.my_id() AND o <> p.subscriber
	GROUP BY p.provider
	UNION ALL
	SELECT n.node_id, 'own', 'joining' FROM replication_plugin.node n WHERE n.state = 'joining' AND n.source = replication_plugin.my_id()
$$;
COMMENT ON FUNCTION wanted_links(integer[]) IS 'the links that this node takes changes from';

-- Sees to it that a link has its row, with what it carries.
CREATE FUNCTION set_link(link_provider integer, origins text) RETURNS void LANGUAGE sql VOLATILE
AS $$
	INSERT INTO replication_plugin.link AS l (provider, full_origins) VALUES ($1, $2)
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET full_origins = excluded.full_origins
		WHERE l.full_origins <> excluded.full_origins
$$;
COMMENT ON FUNCTION set_link(integer, text) IS 'notes what a link carries in full besides its provider''s own';

-- Notes what each wanted link carries, and returns them all: "provider kind paused origins", with ";" between.
CREATE FUNCTION tend_wanted_links(down integer[]) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	w record;
	list text[] := '{}';
BEGIN
	FOR w IN SELECT x.*, l.full_origins AS noted, coalesce(l.paused, false) AS paused FROM replication_plugin.wanted_links(down) x
		LEFT JOIN replication_plugin.link l ON l.provider = x.provider
	LOOP
		IF w.noted IS DISTINCT FROM w.full_origins THEN
			PERFORM replication_plugin.set_link(w.provider, w.full_origins);
		END IF;
		list := list || format('%s %s %s %s', w.provider, left(w.kind, 1), w.paused::integer, w.full_origins);
	END LOOP;
	RETURN array_to_string(list, ';');
END
$$;
COMMENT ON FUNCTION tend_wanted_links(integer[]) IS 'notes what each wanted link carries in full, and returns them all';

-- Slots here for subscribers that have no link from this node, by the topology: for re-routing, of earlier topologies, or of nodes
-- that never came to be.
CREATE FUNCTION spare_slots() RETURNS TABLE (subscriber integer, active boolean) LANGUAGE sql VOLATILE
AS $$
	SELECT right(s.slot_name, 1 - length(replication_plugin.slot_name(0)))::integer, s.active FROM pg_replication_slots s
	WHERE s.slot_name ~ ('^' || left(replication_plugin.slot_name(0), -1) || '[0-9]+$')
		AND NOT EXISTS (SELECT FROM replication_plugin.node n WHERE replication_plugin.slot_name(n.node_id) = s.slot_name)
		AND NOT EXISTS (SELECT FROM replication_plugin.node_reservation r WHERE replication_plugin.slot_name(r.node_id) = s.slot_name
			AND (r.for_backup OR r.reserved_at > now() - interval '1 hour'))
	UNION ALL
	SELECT n.node_id, s.active
	FROM replication_plugin.node n
	JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id)
	WHERE n.state = 'ready' AND NOT EXISTS (SELECT FROM replication_plugin.planned_links('{}') p
		WHERE p.provider = replication_plugin.my_id() AND p.subscriber = n.node_id)
$$;
COMMENT ON FUNCTION spare_slots() IS 'slots here that the topology does not ask for';

-- Drops a slot that nobody uses; another is made from the group slot when it is wanted again.
CREATE FUNCTION drop_spare_slot(slot_for integer) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	IF EXISTS (SELECT FROM replication_plugin.spare_slots() s WHERE s.subscriber = slot_for AND NOT s.active) THEN
		PERFORM pg_drop_replication_slot(replication_plugin.slot_name(slot_for));
	END IF;
EXCEPTION WHEN object_in_use OR undefined_object THEN
	NULL; -- in use again
END
$$;
COMMENT ON FUNCTION drop_spare_slot(integer) IS 'drops a slot that nobody uses';

-- Drops slots of nodes that are out; all, if it is this one. Whoever reads from one may still be reading the news of it.
CREATE FUNCTION drop_slots_of_removed() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
BEGIN
	FOR s IN
		SELECT r.slot_name, r.active_pid,
			coalesce((SELECT bool_and(coalesce(pg_xact_commit_timestamp(x.xmin), '-infinity') < clock_timestamp() - interval '5 seconds')
				FROM replication_plugin.removal x WHERE x.node_id = CASE WHEN n.state = 'removed' THEN n.node_id ELSE l.node_id END), true) AS old_news
		FROM replication_plugin.node n
		JOIN pg_replication_slots r ON r.slot_name = replication_plugin.slot_name(n.node_id),
			replication_plugin.local_node l
		WHERE n.state = 'removed' OR l.state IN ('removed', 'needs_rejoin')
		UNION ALL SELECT r.slot_name, r.active_pid, true FROM pg_replication_slots r, replication_plugin.local_node l
		WHERE r.slot_name = replication_plugin.group_slot_name() AND l.state IN ('removed', 'needs_rejoin')
	LOOP
		IF s.active_pid IS NOT NULL THEN
			IF s.old_news THEN
				PERFORM pg_terminate_backend(s.active_pid);
			END IF;
			CONTINUE;
		END IF;
		BEGIN
			PERFORM pg_drop_replication_slot(s.slot_name);
		EXCEPTION WHEN object_in_use OR undefined_object THEN
			NULL; -- the next round sees to it
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION drop_slots_of_removed() IS 'drops slots of nodes that are out';

-- A node that was joining through one that is removed cannot get on, and would hold everybody up. If it is ready, and only the one
-- that is gone knew, nothing is lost: it takes writes when all know.
CREATE FUNCTION remove_orphans() RETURNS SETOF text LANGUAGE sql VOLATILE
AS $$
	WITH orphan AS (
		SELECT n.node_id, n.node_name FROM replication_plugin.node n JOIN replication_plugin.node s ON s.node_id = n.source
		WHERE n.state = 'joining' AND s.state = 'removed'),
	gone AS (
		INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
			SELECT o.node_id, l.node_id, 'lost' FROM orphan o, replication_plugin.local_node l WHERE l.state = 'ready' AND l.announced
			ON CONFLICT DO NOTHING RETURNING node_id)
	SELECT o.node_name FROM orphan o JOIN gone USING (node_id)
$$;
COMMENT ON FUNCTION remove_orphans() IS 'removes nodes whose source was removed while they were joining';

-- Drops unused slots of members that the group slot has overtaken: what they keep is with their subscriber already, by another way.
-- One that is wanted again is made from the group slot.
CREATE FUNCTION drop_overtaken_slots() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT r.slot_name FROM replication_plugin.node n
		JOIN pg_replication_slots r ON r.slot_name = replication_plugin.slot_name(n.node_id)
		JOIN pg_replication_slots g ON g.slot_name = replication_plugin.group_slot_name()
		WHERE n.state = 'ready' AND NOT r.active AND g.confirmed_flush_lsn - r.confirmed_flush_lsn > 64 * 1048576::numeric
	LOOP
		BEGIN
			PERFORM pg_drop_replication_slot(s.slot_name);
		EXCEPTION WHEN object_in_use OR undefined_object THEN
			NULL; -- in use again
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION drop_overtaken_slots() IS 'drops unused slots of members that the group slot has overtaken';

-- Removes members for which more WAL is kept here than the setting allows: they join anew when they are back. Counted is what
-- they lack, as they tell themselves, by whatever way they get it; WAL that a slot keeps for a transaction that is open here is not the
-- member's fault.
CREATE FUNCTION remove_stragglers(limit_mb integer, wal_end pg_lsn) RETURNS SETOF text LANGUAGE sql VOLATILE
AS $$
	WITH far AS (
		SELECT n.node_id, n.node_name FROM replication_plugin.node n
		JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id)
		WHERE n.state = 'joining' AND $2 - s.confirmed_flush_lsn > $1 * 1048576::numeric
		UNION SELECT n.node_id, n.node_name FROM replication_plugin.node n
		LEFT JOIN replication_plugin.frontier f USING (node_id), pg_replication_slots s, replication_plugin.local_node l
		WHERE s.slot_name = replication_plugin.group_slot_name() AND n.state <> 'removed' AND n.node_id <> l.node_id
			-- members tell how far they are every 16 MB
			AND $2 - s.confirmed_flush_lsn > ($1 + 32) * 1048576::numeric
			AND $2 - coalesce(replication_plugin.frontier_lsn(coalesce(f.vector, n.add_frontier), l.node_id), '0/0')
				> ($1 + 32) * 1048576::numeric),
	gone AS (
		INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
			SELECT far.node_id, l.node_id, 'needs_rejoin' FROM far, replication_plugin.local_node l WHERE l.state = 'ready' AND l.announced
			ON CONFLICT DO NOTHING RETURNING node_id)
	SELECT far.node_name FROM far JOIN gone USING (node_id)
$$;
COMMENT ON FUNCTION remove_stragglers(integer, pg_lsn) IS 'removes members for which more WAL is kept here, up to a position that they had time to reach';

-- Waits until all workers of this database but the manager have ended; false if they do not.
CREATE FUNCTION wait_for_workers_to_stop(patience interval) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + patience;
BEGIN
	LOOP
		PERFORM pg_stat_clear_snapshot(); -- else the list of processes stays as first seen
		EXIT WHEN NOT EXISTS (SELECT FROM replication_plugin.link_states() WHERE pid IS NOT NULL)
			AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
				AND backend_type LIKE 'replication_plugin %' AND backend_type <> 'replication_plugin manager');
		IF clock_timestamp() > deadline THEN
			RETURN false;
		END IF;
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN true;
END
$$;
COMMENT ON FUNCTION wait_for_workers_to_stop(interval) IS 'waits until this database''s workers have ended';

-- Drops all slots that this database has for members. Who reads from one is cut off, and may be back at once.
CREATE FUNCTION drop_slots() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
	mine text := '^' || left(replication_plugin.slot_name(0), -1) || '([0-9]+|group)$';
BEGIN
	FOR attempt IN 1..20 LOOP
		FOR s IN SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name ~ mine LOOP
			BEGIN
				PERFORM pg_terminate_backend(s.active_pid, 5000);
				PERFORM pg_drop_replication_slot(s.slot_name);
			EXCEPTION WHEN object_in_use OR undefined_object THEN
				NULL; -- looked at again
			END;
		END LOOP;
		EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine);
		PERFORM pg_sleep(0.05);
	END LOOP;
	IF EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ mine) THEN
		RAISE EXCEPTION 'slots of the group are in use' USING ERRCODE = '55006',
			HINT = 'See replication_plugin.slots; end the sessions that read from them, and try again.';
	END IF;
END
$$;
COMMENT ON FUNCTION drop_slots() IS 'drops all slots that this database has for members';

-- Takes everything of the group out of this database and server, but users' rows.
CREATE FUNCTION teardown() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.suspend_workers();
	IF NOT replication_plugin.wait_for_workers_to_stop('60 seconds') THEN
		RAISE EXCEPTION 'workers of the group do not stop' USING ERRCODE = '55006',
			HINT = 'Look for processes "replication_plugin ..." in pg_stat_activity, end them, and try again.';
	END IF;
	IF EXISTS (SELECT FROM replication_plugin.parked_row) THEN
		RAISE WARNING 'this node forgets % parked rows (they are still in the view parked_rows of the other members, if there are any)',
			(SELECT count(*) FROM replication_plugin.parked_row);
	END IF;
	PERFORM replication_plugin.drop_slots();
	LOCK TABLE replication_plugin.local_node IN EXCLUSIVE MODE; -- the manager makes an origin under a weaker one
	PERFORM replication_plugin.drop_origins();
	DELETE FROM replication_plugin.local_node;
	DELETE FROM replication_plugin.member;
	DELETE FROM replication_plugin.member_ready;
	DELETE FROM replication_plugin.removal;
	DELETE FROM replication_plugin.topology_setting;
	DELETE FROM replication_plugin.stable_point;
	DELETE FROM replication_plugin.frontier;
	DELETE FROM replication_plugin.slot_base;
	DELETE FROM replication_plugin.table_setting;
	DELETE FROM replication_plugin.mergeable_table;
	DELETE FROM replication_plugin.column_merge;
	DELETE FROM replication_plugin.node_priority;
	DELETE FROM replication_plugin.awaited_state;
	DELETE FROM replication_plugin.merge_settled;
	DELETE FROM replication_plugin.link;
	DELETE FROM replication_plugin.join_script;
	DELETE FROM replication_plugin.join_state;
	DELETE FROM replication_plugin.node_reservation;
	TRUNCATE replication_plugin.tombstone, replication_plugin.row_state, replication_plugin.parked_row, replication_plugin.row_pin;
	PERFORM replication_plugin.capture_remove_all();
	PERFORM replication_plugin.request_manager(false);
END
$$;
COMMENT ON FUNCTION teardown() IS 'ends this database''s membership here, and nowhere else';
-- The commands that people call.

CREATE FUNCTION preflight(OUT requirement text, OUT ok boolean, OUT detail text, OUT fix text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	n integer;
	free integer;
	peer record;
	answer text[];
	t0 timestamptz;
	names text;
BEGIN
	requirement := 'shared_preload_libraries';
	detail := current_setting('shared_preload_libraries');
	BEGIN
		PERFORM replication_plugin.instance_token();
		ok := true;
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		ok := false;
	END;
	fix := CASE WHEN NOT ok THEN 'in postgresql.conf: shared_preload_libraries = ''replication_plugin''; restart' END;
	RETURN NEXT;

	requirement := 'wal_level';
	detail := current_setting('wal_level');
	ok := detail = 'logical';
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET wal_level = logical; restart' END;
	RETURN NEXT;

	requirement := 'track_commit_timestamp';
	detail := current_setting('track_commit_timestamp');
	ok := detail = 'on';
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET track_commit_timestamp = on; restart' END;
	RETURN NEXT;

	requirement := 'output_plugin_libraries';
	detail := coalesce(current_setting('output_plugin_libraries', true), 'this server does not have the setting: every plugin is allowed');
	ok := current_setting('output_plugin_libraries', true) IS NULL OR EXISTS (
		SELECT FROM regexp_split_to_table(detail, '\s*,\s*') l WHERE trim(both '" ' FROM l) = 'replication_plugin');
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET output_plugin_libraries = ' || detail || ', replication_plugin; SELECT pg_reload_conf()' END;
	RETURN NEXT;

	-- a slot and a walsender per other member, an origin per other member, and the group slot
	n := greatest((SELECT count(*) FROM replication_plugin.node WHERE state <> 'removed'), 2)
		- (SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ ('^' || left(replication_plugin.slot_name(0), -1) || '([0-9]+|group)$'));
	requirement := 'replication slots';
	free := current_setting('max_replication_slots')::integer - (SELECT count(*) FROM pg_replication_slots);
	detail := free || ' free of ' || current_setting('max_replication_slots');
	ok := free >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_replication_slots = 20; restart' END;
	RETURN NEXT;

	requirement := 'max_slot_wal_keep_size';
	detail := current_setting('max_slot_wal_keep_size');
	ok := detail = '-1';
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_slot_wal_keep_size = -1; reload: else one member that is away takes all others out. replication_plugin.max_retained_wal is the limit that takes out that one' END;
	RETURN NEXT;

	requirement := 'replication origins';
	free := current_setting('max_replication_slots')::integer - (SELECT count(*) FROM pg_replication_origin_status);
	detail := free || ' free of ' || current_setting('max_replication_slots') || ' (max_replication_slots)';
	ok := free >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_replication_slots = 20; restart' END;
	RETURN NEXT;

	requirement := 'walsenders';
	free := current_setting('max_wal_senders')::integer - (SELECT count(*) FROM pg_stat_replication);
	detail := free || ' free of ' || current_setting('max_wal_senders');
	ok := free >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_wal_senders = 20; restart' END;
	RETURN NEXT;

	requirement := 'worker processes';
	n := greatest((SELECT count(*) FROM replication_plugin.node WHERE state <> 'removed') - 1, 1) + 4;
	detail := current_setting('max_worker_processes') || ', at least ' || n || ' for this group';
	ok := current_setting('max_worker_processes')::integer >= n;
	fix := CASE WHEN NOT ok THEN 'ALTER SYSTEM SET max_worker_processes = 20; restart' END;
	RETURN NEXT;

	requirement := 'rights';
	detail := current_user;
	SELECT rolsuper INTO ok FROM pg_roles WHERE rolname = current_user;
	fix := CASE WHEN NOT ok THEN 'the dsn of a node needs a superuser: its sessions copy tables and read slots' END;
	RETURN NEXT;

	requirement := 'encoding';
	detail := getdatabaseencoding();
	ok := detail <> 'SQL_ASCII';
	fix := CASE WHEN NOT ok THEN 'texts of SQL_ASCII databases have no known encoding; create the database with another' END;
	RETURN NEXT;

	requirement := 'tables have keys';
	SELECT count(*), string_agg(t."table"::text, ', ' ORDER BY t."table"::text) INTO n, names
		FROM replication_plugin.tables t WHERE t.replicated AND t.identity = 'none';
	ok := n = 0;
	detail := CASE WHEN ok THEN 'all' ELSE n || ' without: ' || names END;
	fix := CASE WHEN NOT ok THEN 'ALTER TABLE ... ADD PRIMARY KEY, or ... REPLICA IDENTITY FULL, or SELECT replication_plugin.exclude_table(...)' END;
	RETURN NEXT;

	FOR peer IN SELECT m.node_name, m.dsn FROM replication_plugin.node m
		WHERE m.state <> 'removed' AND m.node_id <> replication_plugin.my_id() ORDER BY m.node_id
	LOOP
		requirement := 'clock of node ' || peer.node_name;
		BEGIN
			t0 := clock_timestamp();
			SELECT q INTO answer FROM replication_plugin.remote_query(peer.dsn,
				'SELECT extract(epoch FROM clock_timestamp())') q;
			n := round((answer[1]::numeric - extract(epoch FROM t0 + (clock_timestamp() - t0) / 2)) * 1000);
			detail := n || ' ms ahead of this node';
			ok := abs(n) < 500;
			fix := CASE WHEN NOT ok THEN 'synchronise the clocks of both servers (NTP)' END;
		EXCEPTION WHEN others THEN
			ok := false;
			detail := SQLERRM;
			fix := 'make the node reachable from here';
		END;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION preflight() IS 'one row per requirement of replication: is it met, and if not, the exact fix';

-- Raises an error if an argument is null: a command that then did nothing would go unnoticed.
CREATE FUNCTION require_arguments(command text, VARIADIC arguments text[]) RETURNS void LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
	IF array_position(arguments, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'arguments of % must not be null', command USING ERRCODE = '22004';
	END IF;
END
$$;
COMMENT ON FUNCTION require_arguments(text, text[]) IS 'an error if an argument is null';

-- Raises the first unmet requirement that replication cannot do without.
CREATE FUNCTION require_preflight() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	p record;
BEGIN
	PERFORM replication_plugin.instance_token();
	FOR p IN SELECT * FROM replication_plugin.preflight() LOOP
		IF NOT p.ok AND p.requirement IN ('shared_preload_libraries', 'wal_level', 'track_commit_timestamp',
			'output_plugin_libraries', 'replication slots', 'replication origins', 'walsenders', 'worker processes', 'rights') THEN
			RAISE EXCEPTION 'this server is not ready for replication: %: %', p.requirement, p.detail
				USING ERRCODE = '55000', HINT = p.fix;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION require_preflight() IS 'an error that names the first requirement that is not met';

-- Raises an error if this database is in a group already, or the name cannot be one.
CREATE FUNCTION require_no_group(node_name text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF FOUND THEN
		RAISE EXCEPTION 'this database is already node "%" of group "%" (%)', l.node_name, l.group_name, l.state
			USING ERRCODE = '55000', HINT = 'SELECT replication_plugin.leave_group() takes it out.';
	END IF;
	IF node_name !~ '^[^[:cntrl:]]{1,63}$' THEN
		RAISE EXCEPTION 'a node name has 1 to 63 characters' USING ERRCODE = '22023';
	END IF;
END
$$;
COMMENT ON FUNCTION require_no_group(text) IS 'an error if this database is in a group already, or the name cannot be one';

CREATE FUNCTION create_group(group_name text, node_name text, dsn text) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments('create_group()', group_name, node_name, dsn);
	PERFORM replication_plugin.require_no_group(node_name);
	PERFORM replication_plugin.require_preflight();
	IF group_name !~ '^[^[:cntrl:]]{1,63}$' THEN
		RAISE EXCEPTION 'a group name has 1 to 63 characters' USING ERRCODE = '22023';
	END IF;
	PERFORM replication_plugin.check_own_dsn(dsn);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state)
		VALUES (pg_current_xact_id()::text::bigint, gen_random_uuid(), group_name, 1, node_name, dsn, 'ready');
	INSERT INTO replication_plugin.member (node_id, node_name, dsn) VALUES (1, node_name, dsn);
	INSERT INTO replication_plugin.member_ready (node_id) VALUES (1);
	INSERT INTO replication_plugin.stable_point (only_one) VALUES (true);
	PERFORM replication_plugin.capture_install_all();
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION create_group(text, text, text) IS
	'makes this database the first node of a new group; dsn is how other nodes reach it';

-- Raises an error if there is something in this database that the group's contents would meet: objects,
-- where the schema is to be copied; rows, where only they are.
CREATE FUNCTION require_empty_database(copy_schema boolean, copy_data boolean) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	found text;
	t record;
	has_rows boolean;
BEGIN
	IF copy_schema THEN
		SELECT min(d) INTO found FROM (
			SELECT pg_describe_object('pg_class'::regclass, c.oid, 0), c.relnamespace, 'pg_class'::regclass, c.oid
				FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
			UNION ALL SELECT pg_describe_object('pg_proc'::regclass, p.oid, 0), p.pronamespace, 'pg_proc'::regclass, p.oid
				FROM pg_proc p
			UNION ALL SELECT pg_describe_object('pg_type'::regclass, y.oid, 0), y.typnamespace, 'pg_type'::regclass, y.oid
				FROM pg_type y WHERE y.typrelid = 0 AND y.typtype IN ('d', 'e', 'r')) o(d, space, class, id)
		WHERE id >= 16384
			AND space NOT IN (SELECT n.oid FROM pg_namespace n
				WHERE n.nspname IN ('replication_plugin', 'information_schema') OR n.nspname ~ '^pg_')
			AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = class AND e.objid = id AND e.deptype = 'e');
	ELSIF copy_data THEN
		FOR t IN SELECT x."table" AS name FROM replication_plugin.tables x WHERE x.replicated LOOP
			EXECUTE format('SELECT EXISTS (SELECT FROM %s)', t.name) INTO has_rows;
			IF has_rows THEN
				found := 'rows in table ' || t.name;
				EXIT;
			END IF;
		END LOOP;
	END IF;
	IF found IS NOT NULL THEN
		RAISE EXCEPTION 'this database has contents of its own: %', found USING ERRCODE = '55000',
			HINT = CASE WHEN copy_schema
				THEN 'Join with an empty database. Or, if the tables here are those of the group already, say copy_schema => false; or allow_existing => true to keep what is here beside what comes.'
				ELSE 'Empty the tables. Or say allow_existing => true: the rows in tables of the group are then replaced; or copy_data => false, if they are the same rows already.' END;
	END IF;
END
$$;
COMMENT ON FUNCTION require_empty_database(boolean, boolean) IS 'an error if this database has contents that the group''s would meet';

-- Asks the member behind a dsn who it is, for a node that wants to join.
CREATE FUNCTION ask_source(via text, OUT group_id uuid, OUT group_name text, OUT node_id integer, OUT node_name text,
	OUT version integer)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	answer text[];
BEGIN
	BEGIN
		SELECT q INTO answer FROM replication_plugin.remote_query(via,
			'SELECT group_id, group_name, node_id, node_name, state, encoding, server_version_num FROM replication_plugin.identity()') q;
	EXCEPTION
		WHEN undefined_function OR invalid_schema_name THEN
			RAISE EXCEPTION 'the database behind via does not have the extension replication_plugin' USING ERRCODE = '55000',
				HINT = 'via is the dsn of any ready member of the group.';
		WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'the member behind via cannot be reached: %', SQLERRM USING ERRCODE = '08001',
				HINT = 'via is the dsn of any ready member of the group, as seen from this server.';
	END;
	group_id := answer[1];
	group_name := answer[2];
	node_id := answer[3];
	node_name := answer[4];
	version := answer[7];
	IF group_id IS NULL THEN
		RAISE EXCEPTION 'the database behind via is in no group' USING ERRCODE = '55000',
			HINT = 'via is the dsn of any ready member of the group, not of this database. A new group is made with create_group().';
	END IF;
	IF answer[5] <> 'ready' THEN
		RAISE EXCEPTION 'node "%" is not ready: %', node_name, answer[5] USING ERRCODE = '55000',
			HINT = 'Join through a ready member.';
	END IF;
	IF answer[6] <> getdatabaseencoding() THEN
		RAISE EXCEPTION 'node "%" has encoding %, this database has %', node_name, answer[6], getdatabaseencoding()
			USING ERRCODE = '0A000', HINT = 'Create this database with the encoding of the group.';
	END IF;
	IF version / 10000 > current_setting('server_version_num')::integer / 10000 THEN
		RAISE EXCEPTION 'node "%" runs a newer PostgreSQL (%)', node_name, version USING ERRCODE = '0A000',
			HINT = 'Upgrade this server first.';
	END IF;
END
$$;
COMMENT ON FUNCTION ask_source(text) IS 'asks the member behind a dsn who it is';

-- Has all members promise the new node its name and a number, which is returned. Another node may join at
-- the same time: then one of them finds the number taken, and takes the next.
CREATE FUNCTION reserve_everywhere(via text, group_id uuid, node_name text, dsn text) RETURNS integer
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	-- in the order of their numbers: so of two that join at once, one is first everywhere
	list constant text := 'SELECT node_name, dsn, state FROM replication_plugin.members() WHERE state <> ''removed''';
	member record;
	number integer := 0;
	last integer;
BEGIN
	FOR attempt IN 1..5 LOOP
		BEGIN
			FOR member IN SELECT q[1] AS name, q[2] AS dsn FROM replication_plugin.remote_query(via, list) q LOOP
				SELECT q[1]::integer INTO last FROM replication_plugin.remote_query(member.dsn,
					'SELECT replication_plugin.last_node_id()') q;
				number := greatest(number, last);
			END LOOP;
			number := number + 1;
			FOR member IN SELECT q[1] AS name, q[2] AS dsn FROM replication_plugin.remote_query(via, list) q WHERE q[3] = 'ready' LOOP
				PERFORM replication_plugin.remote_query(member.dsn, format('SELECT replication_plugin.reserve_node(%L, %s, %L, %L)',
					group_id, number, node_name, dsn));
			END LOOP;
			RETURN number;
		EXCEPTION
			WHEN sqlclient_unable_to_establish_sqlconnection THEN
				RAISE EXCEPTION 'member "%" cannot be reached: %', member.name, SQLERRM USING ERRCODE = '08001',
					HINT = 'A joining node needs all members. Start it, or take it out with remove_node().';
			WHEN lock_not_available THEN
				CONTINUE; -- that is what reserve_node() says of a number
		END;
	END LOOP;
	RAISE EXCEPTION 'too many nodes are joining at the same time' USING ERRCODE = '55P03', HINT = 'Try again.';
END
$$;
COMMENT ON FUNCTION reserve_everywhere(text, uuid, text, text) IS 'has all members promise a new node its name and a number';

-- Where the WAL of this server, a promoted physical copy, left that of the server it was copied from.
CREATE FUNCTION copied_until(OUT timeline integer, OUT lsn pg_lsn) LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	history text := pg_read_file('pg_wal/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.history', 0, 1000000, true);
	line text[];
BEGIN
	IF history IS NULL THEN
		RAISE EXCEPTION 'this copy of a server has no timeline of its own' USING ERRCODE = '55000',
			HINT = 'Start the copy as a standby (pg_basebackup --write-recovery-conf does it), then SELECT pg_promote().';
	END IF;
	FOR line IN SELECT regexp_matches(l, '^(\d+)\s+([0-9A-F]+/[0-9A-F]+)') FROM regexp_split_to_table(history, '\n') l LOOP
		timeline := line[1];
		lsn := line[2];
	END LOOP;
END
$$;
COMMENT ON FUNCTION copied_until() IS 'where the WAL of this physical copy left that of the server it was copied from';

-- Makes a physical copy of a member's server a node of its own, that joins through that member. Everything that the
-- member had up to the copy's end is here, with the progress of all origins.
CREATE FUNCTION adopt_copy(node_name text, dsn text, via text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	source record;
	copied record;
	answer text[];
	number integer;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	SELECT * INTO source FROM replication_plugin.ask_source(via);
	IF source.group_id <> l.group_id OR source.node_id <> l.node_id THEN
		RAISE EXCEPTION 'this is a copy of node "%", not of the node behind via ("%")', l.node_name, source.node_name USING ERRCODE = '55000',
			HINT = 'A physical copy joins through the member that it was copied from.';
	END IF;
	SELECT * INTO copied FROM replication_plugin.copied_until();
	SELECT q INTO answer FROM replication_plugin.remote_query(via, format($q$
		SELECT r.node_id, s.confirmed_flush_lsn <= %L, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
		FROM replication_plugin.node_reservation r JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(r.node_id)
		WHERE r.for_backup AND r.node_name = %L AND r.dsn = %L AND s.wal_status <> 'lost' $q$, copied.lsn, node_name, dsn)) q;
	IF answer IS NULL THEN
		RAISE EXCEPTION 'node "%" keeps nothing for a copy named "%" with this dsn', source.node_name, node_name USING ERRCODE = '55000',
			HINT = 'Before the backup: SELECT replication_plugin.prepare_base_backup(name, dsn) on that node, with what join_group() is given here.';
	END IF;
	IF answer[2] <> 't' OR answer[3]::integer <> copied.timeline THEN
		RAISE EXCEPTION 'this copy is older than what node "%" keeps for it', source.node_name USING ERRCODE = '55000',
			HINT = 'First SELECT replication_plugin.prepare_base_backup(), then the backup.';
	END IF;
	number := answer[1];
	PERFORM replication_plugin.suspend_workers();
	IF NOT replication_plugin.wait_for_workers_to_stop('60 seconds') THEN
		RAISE EXCEPTION 'workers of the group do not stop' USING ERRCODE = '55006', HINT = 'Try again.';
	END IF;
	-- a copy by files may have brought them along; they stand for the source, not for this node
	PERFORM replication_plugin.drop_slots();
	DELETE FROM replication_plugin.local_node;
	DELETE FROM replication_plugin.link;
	DELETE FROM replication_plugin.stable_point;
	DELETE FROM replication_plugin.slot_base;
	DELETE FROM replication_plugin.node_reservation;
	DELETE FROM replication_plugin.conflict_log;
	DELETE FROM replication_plugin.conflict_count;
	-- what was local there is the source's here, up to the end of the copy
	PERFORM pg_replication_origin_create(replication_plugin.origin_name(source.node_id::text));
	PERFORM replication_plugin.reload_origins();
	PERFORM pg_replication_origin_advance(replication_plugin.origin_name(source.node_id::text), copied.lsn);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state, source_id, source_dsn,
			copy_schema, copy_data, progress, copy_of, copy_since)
		VALUES (pg_current_xact_id()::text::bigint, source.group_id, source.group_name, number, node_name, dsn, 'joining: adopt', source.node_id, via,
			false, false, 'waiting for the join worker', source.node_id, l.since_xid);
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION adopt_copy(text, text, text) IS 'makes a physical copy of a member''s server a node of its own';

CREATE FUNCTION join_group(node_name text, dsn text, via text, copy_schema boolean DEFAULT true,
	copy_data boolean DEFAULT true, allow_existing boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	source record;
	number integer;
	copy_of_member boolean := EXISTS (SELECT FROM replication_plugin.local_node l WHERE l.last_error LIKE 'this server is a copy%');
BEGIN
	PERFORM replication_plugin.require_arguments('join_group()', node_name, dsn, via, copy_schema::text, copy_data::text,
		allow_existing::text);
	IF copy_of_member AND NOT copy_data AND NOT copy_schema THEN
		PERFORM replication_plugin.require_preflight();
		PERFORM replication_plugin.check_own_dsn(dsn);
		PERFORM replication_plugin.adopt_copy(node_name, dsn, via);
		RETURN;
	END IF;
	PERFORM replication_plugin.require_no_group(node_name);
	PERFORM replication_plugin.require_preflight();
	PERFORM replication_plugin.check_own_dsn(dsn);
	SELECT * INTO source FROM replication_plugin.ask_source(via);
	IF copy_schema THEN
		PERFORM replication_plugin.require_join_programs(source.version);
	END IF;
	IF NOT allow_existing THEN
		PERFORM replication_plugin.require_empty_database(copy_schema, copy_data);
	END IF;
	number := replication_plugin.reserve_everywhere(via, source.group_id, node_name, dsn);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state, source_id, source_dsn,
			copy_schema, copy_data, progress)
		VALUES (pg_current_xact_id()::text::bigint, source.group_id, source.group_name, number, node_name, dsn, 'joining: slot', source.node_id, via,
			copy_schema, copy_data, 'waiting for the join worker');
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION join_group(text, text, text, boolean, boolean, boolean) IS
	'makes this database a node of the group that the member behind via is in; returns at once, see wait_until_ready()';

CREATE FUNCTION prepare_base_backup(node_name text, dsn text) RETURNS integer LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	number integer;
BEGIN
	PERFORM replication_plugin.require_arguments('prepare_base_backup()', node_name, dsn);
	PERFORM replication_plugin.require_ready();
	PERFORM replication_plugin.dsn_without_password(dsn); -- is it one?
	SELECT * INTO l FROM replication_plugin.local_node;
	SELECT r.node_id INTO number FROM replication_plugin.node_reservation r
		WHERE r.for_backup AND r.node_name = prepare_base_backup.node_name AND r.dsn = prepare_base_backup.dsn;
	IF number IS NOT NULL THEN
		RETURN number;
	END IF;
	IF NOT EXISTS (SELECT FROM replication_plugin.stable_point p WHERE p.slot_made) THEN
		RAISE EXCEPTION 'node "%" has no group slot yet', l.node_name USING ERRCODE = '55000', HINT = 'Try again.';
	END IF;
	-- the promise here is made by our own reserve_node(), in another session: it is there by now
	number := replication_plugin.reserve_everywhere(l.dsn, l.group_id, node_name, dsn);
	PERFORM pg_copy_logical_replication_slot(replication_plugin.group_slot_name(), replication_plugin.slot_name(number));
	UPDATE replication_plugin.node_reservation r SET for_backup = true WHERE r.node_id = number;
	RETURN number;
END
$$;
COMMENT ON FUNCTION prepare_base_backup(text, text) IS
	'before a physical backup of this server that is to become a node of that name and dsn: promises it a number, which is returned, and keeps WAL for it';

CREATE FUNCTION cancel_base_backup(node_name text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	number integer;
BEGIN
	PERFORM replication_plugin.require_arguments('cancel_base_backup()', node_name);
	DELETE FROM replication_plugin.node_reservation r WHERE r.for_backup AND r.node_name = cancel_base_backup.node_name
		AND NOT EXISTS (SELECT FROM replication_plugin.member m WHERE m.node_id = r.node_id) RETURNING r.node_id INTO number;
	IF number IS NULL THEN
		RAISE EXCEPTION 'nothing is kept for a copy named "%"', node_name USING ERRCODE = '42704';
	END IF;
	PERFORM pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots s WHERE s.slot_name = replication_plugin.slot_name(number);
END
$$;
COMMENT ON FUNCTION cancel_base_backup(text) IS 'takes prepare_base_backup() back';

-- A ready member that answers, for a node that must join anew.
CREATE FUNCTION find_source() RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	m record;
	answer text[];
BEGIN
	FOR m IN SELECT n.dsn FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> replication_plugin.my_id() ORDER BY n.node_id LOOP
		BEGIN
			SELECT q INTO answer FROM replication_plugin.remote_query(m.dsn, 'SELECT group_id, state FROM replication_plugin.identity()') q;
			IF answer[1]::uuid = (SELECT l.group_id FROM replication_plugin.local_node l) AND answer[2] = 'ready' THEN
				RETURN m.dsn;
			END IF;
		EXCEPTION WHEN others THEN
			NULL; -- the next, perhaps
		END;
	END LOOP;
	RAISE EXCEPTION 'no ready member of the group answers' USING ERRCODE = '08001',
		HINT = 'Give the dsn of one: SELECT replication_plugin.rejoin(via => ...).';
END
$$;
COMMENT ON FUNCTION find_source() IS 'dsn of a ready member that answers';

CREATE FUNCTION rejoin(via text DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
	source record;
	member record;
	source_dsn text;
	number integer;
BEGIN
	PERFORM replication_plugin.require_no_transaction('rejoin()');
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND OR l.state NOT IN ('removed', 'needs_rejoin') THEN
		RAISE EXCEPTION 'this node need not join anew: %', coalesce(l.state, 'it is in no group') USING ERRCODE = '55000';
	END IF;
	PERFORM replication_plugin.require_preflight();
	PERFORM replication_plugin.check_own_dsn(l.dsn);
	IF EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database()) THEN
		RAISE EXCEPTION 'there are prepared transactions in this database' USING ERRCODE = '55000',
			HINT = 'End those of pg_prepared_xacts first.';
	END IF;
	source_dsn := coalesce(via, replication_plugin.find_source());
	SELECT * INTO source FROM replication_plugin.ask_source(source_dsn);
	IF source.group_id <> l.group_id THEN
		RAISE EXCEPTION 'node "%" is in another group: "%"', source.node_name, source.group_name USING ERRCODE = '55000';
	END IF;
	-- each member has it from us: the name is free then, everywhere
	FOR member IN SELECT q[1] AS name, q[2] AS dsn FROM replication_plugin.remote_query(source_dsn,
		$q$ SELECT node_name, dsn FROM replication_plugin.node WHERE state = 'ready' $q$) q
	LOOP
		BEGIN
			PERFORM replication_plugin.remote_query(member.dsn, format('SELECT replication_plugin.expel(%L, %s)', l.group_id, l.node_id))
				WHERE member.name <> l.node_name;
		EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'member "%" cannot be reached: %', member.name, SQLERRM USING ERRCODE = '08001',
				HINT = 'A joining node needs all members. Start it, or take it out with remove_node().';
		END;
	END LOOP;
	PERFORM replication_plugin.teardown();
	number := replication_plugin.reserve_everywhere(source_dsn, l.group_id, l.node_name, l.dsn);
	INSERT INTO replication_plugin.local_node (since_xid, group_id, group_name, node_id, node_name, dsn, state, source_id, source_dsn,
			copy_schema, copy_data, progress)
		VALUES (pg_current_xact_id()::text::bigint, l.group_id, l.group_name, number, l.node_name, l.dsn, 'joining: slot', source.node_id, source_dsn,
			false, true, 'waiting for the join worker');
	PERFORM replication_plugin.request_manager(true);
END
$$;
COMMENT ON FUNCTION rejoin(text) IS
	'on a node that is out of its group: takes it in again under its name, with the rows of the others in place of its own';

CREATE FUNCTION wait_until_ready(timeout interval DEFAULT '10 minutes') RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
	l replication_plugin.local_node;
	said text := '';
	complained text := '';
BEGIN
	LOOP
		SELECT * INTO l FROM replication_plugin.local_node;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000',
				HINT = 'Call create_group() or join_group() first.';
		END IF;
		IF l.state = 'ready' AND l.announced THEN
			RETURN true;
		END IF;
		IF l.state || coalesce(': ' || l.progress, '') <> said THEN
			said := l.state || coalesce(': ' || l.progress, '');
			RAISE NOTICE '%', said;
		END IF;
		IF coalesce(l.last_error, '') <> complained THEN
			complained := coalesce(l.last_error, '');
			IF complained <> '' THEN
				RAISE NOTICE 'error, tried again: %', complained;
			END IF;
		END IF;
		IF clock_timestamp() >= deadline OR l.state IN ('removed', 'needs_rejoin', 'leaving', 'left') THEN
			RETURN false;
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
COMMENT ON FUNCTION wait_until_ready(interval) IS
	'waits until this node is a full member; true if it is, false after the timeout; progress comes as notices';

-- Raises an error unless this node is a ready member.
CREATE FUNCTION require_ready() RETURNS void LANGUAGE plpgsql STABLE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000',
			HINT = 'Call create_group() or join_group() first.';
	END IF;
	IF l.state <> 'ready' OR NOT l.announced THEN
		RAISE EXCEPTION 'this node is not ready: %', CASE l.state WHEN 'ready' THEN 'joining: announced' ELSE l.state END USING ERRCODE = '55000',
			HINT = 'SELECT replication_plugin.wait_until_ready() waits for it.';
	END IF;
END
$$;
COMMENT ON FUNCTION require_ready() IS 'an error unless this node is a ready member';

-- Number of another member by name.
CREATE FUNCTION other_node(name text) RETURNS integer LANGUAGE plpgsql STABLE
AS $$
DECLARE
	n replication_plugin.node;
BEGIN
	PERFORM replication_plugin.require_ready();
	SELECT * INTO n FROM replication_plugin.node m WHERE m.node_name = name ORDER BY m.state = 'removed', m.node_id DESC LIMIT 1;
	IF NOT FOUND OR n.state = 'removed' THEN
		RAISE EXCEPTION 'there is no node "%" in this group', name USING ERRCODE = '42704',
			HINT = 'The members are in replication_plugin.nodes.';
	END IF;
	IF n.node_id = replication_plugin.my_id() THEN
		RAISE EXCEPTION 'node "%" is this node', name USING ERRCODE = '22023',
			HINT = 'Name another node. A node itself leaves with leave_group().';
	END IF;
	RETURN n.node_id;
END
$$;
COMMENT ON FUNCTION other_node(text) IS 'number of another member by name';

-- Waits until the transactions of clients that are open now have ended, prepared ones included: any of them may have written, or be
-- about to. Returns one that goes on after the timeout.
CREATE FUNCTION wait_for_clients(timeout interval) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
	since timestamptz := clock_timestamp();
	who text;
BEGIN
	LOOP
		PERFORM pg_stat_clear_snapshot();
		SELECT 'process ' || a.pid INTO who FROM pg_stat_activity a WHERE a.datname = current_database() AND a.xact_start <= since
			AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
			AND a.application_name NOT LIKE 'replication_plugin %' LIMIT 1;
		IF NOT FOUND THEN
			SELECT format('prepared transaction %L', x.gid) INTO who FROM pg_prepared_xacts x WHERE x.database = current_database() LIMIT 1;
		END IF;
		EXIT WHEN NOT FOUND OR clock_timestamp() >= deadline;
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN who;
END
$$;
COMMENT ON FUNCTION wait_for_clients(interval) IS 'waits until the transactions of clients that are open now have ended';

-- Being removed in order: this node takes no more local writes, and returns when all other members have what it has written.
CREATE FUNCTION prepare_removal(timeout interval DEFAULT '60 seconds') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	me text := (SELECT l.node_name FROM replication_plugin.local_node l);
	client text;
	problem text;
BEGIN
	PERFORM replication_plugin.loopback($q$ UPDATE replication_plugin.local_node SET state = 'leaving' WHERE state = 'ready' $q$);
	client := replication_plugin.wait_for_clients(timeout);
	IF client IS NOT NULL THEN
		problem := format('%s on node "%s" is open for longer than %s', client, me, timeout);
	ELSIF NOT replication_plugin.wait_for_apply(timeout) THEN
		problem := format('not all members have applied the writes of node "%s" within %s', me, timeout);
	END IF;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION '%', problem USING ERRCODE = '55000',
			HINT = 'See replication_plugin.slots there, and links on the others. Remove members that are gone with remove_node(..., lost => true), end the transaction, or give a longer timeout.';
	END IF;
EXCEPTION WHEN query_canceled OR others THEN
	PERFORM replication_plugin.loopback('SELECT replication_plugin.cancel_leave()');
	RAISE;
END
$$;
COMMENT ON FUNCTION prepare_removal(interval) IS 'takes no more local writes, and waits until all other members have what was written here';

-- A removal or leave that was interrupted: this node takes writes again. Does nothing if the group has it down as removed already.
CREATE FUNCTION cancel_leave() RETURNS void LANGUAGE sql VOLATILE
AS $$
	UPDATE replication_plugin.local_node l SET state = 'ready' WHERE state = 'leaving'
		AND NOT EXISTS (SELECT FROM replication_plugin.removal r WHERE r.node_id = l.node_id)
$$;
COMMENT ON FUNCTION cancel_leave() IS
	'after a remove_node() or leave_group() of this node that was interrupted (state leaving): it takes writes again';

CREATE FUNCTION remove_node(node_name text, lost boolean DEFAULT false) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
	target replication_plugin.node;
BEGIN
	PERFORM replication_plugin.require_arguments('remove_node()', node_name, lost::text);
	id := replication_plugin.other_node(node_name);
	PERFORM replication_plugin.require_no_transaction('remove_node()'); -- it would hold up all links
	SELECT * INTO target FROM replication_plugin.node n WHERE n.node_id = id;
	IF NOT lost AND target.state = 'ready' THEN
		BEGIN
			PERFORM replication_plugin.remote_query(target.dsn, 'SELECT replication_plugin.prepare_removal()');
		EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
			RAISE EXCEPTION 'node "%" does not answer: %', node_name, SQLERRM USING ERRCODE = '08001',
				HINT = format('If it is lost: SELECT replication_plugin.remove_node(%L, lost => true). What it has written and given to nobody is then gone.', node_name);
		END;
	END IF;
	INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
		SELECT id, replication_plugin.my_id(), CASE WHEN lost THEN 'lost' ELSE 'removed' END
		ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION remove_node(text, boolean) IS
	'takes a node out of the group, on all members; its number is never used again; lost: it is dead, and the others make do with what they have of it';

-- Whether another member has this node down as removed; null if it does not answer.
CREATE FUNCTION knows_removed(member_dsn text) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	answer text[];
BEGIN
	SELECT q INTO answer FROM replication_plugin.remote_query(member_dsn,
		format('SELECT state FROM replication_plugin.node WHERE node_id = %s', replication_plugin.my_id())) q;
	RETURN coalesce(answer[1] = 'removed', false);
EXCEPTION WHEN others THEN
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION knows_removed(text) IS 'whether a member has this node down as removed; null if it does not answer';

-- Has the members take this node out, once they have all that it has written.
CREATE FUNCTION say_goodbye(timeout interval) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + 2 * timeout;
	me text := (SELECT node_name FROM replication_plugin.local_node);
	member record;
	told boolean;
BEGIN
	PERFORM replication_plugin.prepare_removal(timeout);
	PERFORM replication_plugin.loopback(format($q$ INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
		VALUES (%s, %1$s, 'left') ON CONFLICT DO NOTHING $q$, replication_plugin.my_id()));
	-- a member that has heard of it drops its link at once, without confirming: so ask
	FOR member IN SELECT n.node_name, n.dsn FROM replication_plugin.node n
		WHERE n.state = 'ready' AND n.node_id <> replication_plugin.my_id() ORDER BY n.node_id
	LOOP
		LOOP
			told := replication_plugin.knows_removed(member.dsn);
			EXIT WHEN told OR told IS NULL OR clock_timestamp() >= deadline;
			PERFORM pg_sleep(0.02);
		END LOOP;
		IF told IS NOT TRUE THEN
			RAISE WARNING 'node "%" does not know yet that this node has left', member.node_name
				USING HINT = format('SELECT replication_plugin.remove_node(%L) on a member tells the others.', me);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION say_goodbye(interval) IS 'leaving: has the members take this node out';

CREATE FUNCTION leave_group(timeout interval DEFAULT '60 seconds') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	l replication_plugin.local_node;
BEGIN
	PERFORM replication_plugin.require_arguments('leave_group()', timeout::text);
	PERFORM replication_plugin.require_no_transaction('leave_group()');
	SELECT * INTO l FROM replication_plugin.local_node;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000';
	END IF;
	BEGIN
		-- a copy of a server must not speak for the original
		PERFORM replication_plugin.loopback('SELECT');
	EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
		RAISE EXCEPTION 'the dsn of this node does not lead here: %', SQLERRM USING ERRCODE = '55000',
			HINT = 'Make it work. Or call remove_node() on another member, then SELECT replication_plugin.forget_group() here.';
	END;
	IF l.state IN ('ready', 'leaving') -- leaving: an earlier call was interrupted
		AND EXISTS (SELECT FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> l.node_id)
		AND NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.state = 'ready' AND n.node_id <> l.node_id
			AND replication_plugin.knows_removed(n.dsn)) THEN
		PERFORM replication_plugin.say_goodbye(timeout);
	END IF;
	-- other members are refused from now on, and no worker is started any more
	PERFORM replication_plugin.loopback('UPDATE replication_plugin.local_node SET state = ''left''');
	PERFORM replication_plugin.teardown();
	IF l.state LIKE 'joining:%' THEN
		-- the group may have admitted it already
		BEGIN
			PERFORM replication_plugin.remote_query(l.source_dsn, format($q$ INSERT INTO replication_plugin.removal (node_id, removed_by, reason)
				SELECT node_id, replication_plugin.my_id(), 'left' FROM replication_plugin.node WHERE node_id = %s AND state = 'joining'
				ON CONFLICT DO NOTHING $q$, l.node_id));
		EXCEPTION WHEN others THEN
			RAISE WARNING 'the group could not be told that this node does not join: %', SQLERRM
				USING HINT = format('SELECT replication_plugin.remove_node(%L) on a member tells it.', l.node_name);
		END;
	END IF;
END
$$;
COMMENT ON FUNCTION leave_group(interval) IS
	'takes this node out of its group and ends all its replication; its rows stay; waits until its writes are applied elsewhere';

CREATE FUNCTION forget_group() RETURNS void LANGUAGE plpgsql VOLATILE STRICT
AS $$
BEGIN
	PERFORM replication_plugin.require_no_transaction('forget_group()');
	IF NOT EXISTS (SELECT FROM replication_plugin.local_node) THEN
		RAISE EXCEPTION 'this database is in no group' USING ERRCODE = '55000';
	END IF;
	PERFORM replication_plugin.teardown();
END
$$;
COMMENT ON FUNCTION forget_group() IS
	'on a copy of a server, or a node that was removed: ends its membership here without telling anybody';

-- Numbers of ready members by their names, in that order.
CREATE FUNCTION ready_nodes(names text[]) RETURNS integer[] LANGUAGE plpgsql STABLE
AS $$
DECLARE
	name text;
	id integer;
	ids integer[] := '{}';
BEGIN
	FOREACH name IN ARRAY names LOOP
		SELECT n.node_id INTO id FROM replication_plugin.node n WHERE n.node_name = name AND n.state = 'ready';
		IF id IS NULL THEN
			RAISE EXCEPTION 'there is no ready node "%" in this group', name USING ERRCODE = '42704',
				HINT = 'The members are in replication_plugin.nodes.';
		END IF;
		IF id = ANY (ids) THEN
			RAISE EXCEPTION 'node "%" is named twice', name USING ERRCODE = '22023';
		END IF;
		ids := ids || id;
	END LOOP;
	RETURN ids;
END
$$;
COMMENT ON FUNCTION ready_nodes(text[]) IS 'numbers of ready members by their names';

-- Puts a topology in force, unless it leaves a member out.
CREATE FUNCTION store_topology(new_shape text, new_nodes integer[], new_links integer[]) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	members integer[];
	sources integer[];
	left_out text;
BEGIN
	LOCK TABLE replication_plugin.topology_setting IN SHARE ROW EXCLUSIVE MODE;
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}'), coalesce(array_agg(coalesce(n.source, 0) ORDER BY n.node_id), '{}')
		INTO members, sources FROM replication_plugin.node n WHERE n.state = 'ready';
	SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO left_out FROM replication_plugin.node n
		WHERE n.node_id = ANY (replication_plugin.topology_unreachable(new_shape, new_nodes, new_links, members, sources));
	IF left_out IS NOT NULL THEN
		RAISE EXCEPTION 'this topology does not connect all nodes: % cannot be reached, or cannot reach the others', left_out
			USING ERRCODE = '22023', HINT = 'There must be a path of links from each node to each other one.';
	END IF;
	INSERT INTO replication_plugin.topology_setting (serial, set_by, shape, nodes, links)
		SELECT coalesce(max(t.serial), 0) + 1, replication_plugin.my_id(), new_shape, new_nodes, new_links
		FROM replication_plugin.topology_setting t;
END
$$;
COMMENT ON FUNCTION store_topology(text, integer[], integer[]) IS 'puts a topology in force';

CREATE FUNCTION set_topology(shape text, nodes text[] DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ids integer[];
	present integer[] := '{}';
	missing text;
BEGIN
	PERFORM replication_plugin.require_arguments('set_topology()', shape);
	PERFORM replication_plugin.require_ready();
	IF shape NOT IN ('all_to_all', 'star', 'ring', 'custom') THEN
		RAISE EXCEPTION 'there is no topology "%"', shape USING ERRCODE = '22023',
			HINT = 'Shapes are all_to_all, star (the hub is named first), ring (each takes from the one before it) and custom.';
	END IF;
	IF shape = 'custom' THEN
		IF nodes IS NOT NULL THEN
			RAISE EXCEPTION 'topology "custom" takes no list of nodes' USING ERRCODE = '22023',
				HINT = 'It keeps the links that there are; add_link() and drop_link() change them.';
		END IF;
		PERFORM replication_plugin.store_topology(shape, '{}', replication_plugin.present_links());
		RETURN;
	END IF;
	SELECT coalesce(array_agg(n.node_id ORDER BY n.node_id), '{}') INTO ids FROM replication_plugin.node n WHERE n.state = 'ready';
	IF nodes IS NOT NULL THEN
		present := replication_plugin.ready_nodes(nodes);
		SELECT string_agg(n.node_name, ', ' ORDER BY n.node_id) INTO missing FROM replication_plugin.node n
			WHERE n.node_id = ANY (ids) AND n.node_id <> ALL (present);
		IF missing IS NOT NULL THEN
			RAISE EXCEPTION 'this topology leaves nodes out: %', missing USING ERRCODE = '22023',
				HINT = 'Name all ready nodes, or none.';
		END IF;
		ids := present;
	END IF;
	PERFORM replication_plugin.store_topology(shape, CASE WHEN shape = 'all_to_all' THEN '{}' ELSE ids END, '{}');
END
$$;
COMMENT ON FUNCTION set_topology(text, text[]) IS
	'shapes the group, on all members, also under load: all_to_all, star (hub first), ring (each takes from the one before it), custom (the links that there are)';

-- The links of the group by its topology, as a flat list: provider, subscriber, provider, ...
CREATE FUNCTION present_links() RETURNS integer[] LANGUAGE sql STABLE
AS $$
	SELECT coalesce(array_agg(x ORDER BY p.provider, p.subscriber, place), '{}')
	FROM replication_plugin.planned_links('{}') p, unnest(ARRAY[p.provider, p.subscriber]) WITH ORDINALITY u(x, place)
$$;
COMMENT ON FUNCTION present_links() IS 'the links of the group by its topology, as a flat list';

-- Numbers of the two ends of a link.
CREATE FUNCTION link_ends(command text, provider text, subscriber text) RETURNS integer[] LANGUAGE plpgsql STABLE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments(command, provider, subscriber);
	PERFORM replication_plugin.require_ready();
	IF provider = subscriber THEN
		RAISE EXCEPTION 'a node needs no link from itself' USING ERRCODE = '22023';
	END IF;
	RETURN replication_plugin.ready_nodes(ARRAY[provider, subscriber]);
END
$$;
COMMENT ON FUNCTION link_ends(text, text, text) IS 'numbers of the two ends of a link';

CREATE FUNCTION add_link(provider text, subscriber text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ends integer[] := replication_plugin.link_ends('add_link()', provider, subscriber);
BEGIN
	IF EXISTS (SELECT FROM replication_plugin.planned_links('{}') p WHERE p.provider = ends[1] AND p.subscriber = ends[2]) THEN
		RAISE EXCEPTION 'there is a link from "%" to "%" already', provider, subscriber USING ERRCODE = '42710';
	END IF;
	PERFORM replication_plugin.store_topology('custom', '{}', replication_plugin.present_links() || ends);
END
$$;
COMMENT ON FUNCTION add_link(text, text) IS 'adds a link, on which the subscriber takes changes from the provider; the topology is then custom';

CREATE FUNCTION drop_link(provider text, subscriber text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	ends integer[] := replication_plugin.link_ends('drop_link()', provider, subscriber);
	rest integer[];
BEGIN
	IF NOT EXISTS (SELECT FROM replication_plugin.planned_links('{}') p WHERE p.provider = ends[1] AND p.subscriber = ends[2]) THEN
		RAISE EXCEPTION 'there is no link from "%" to "%"', provider, subscriber USING ERRCODE = '42704',
			HINT = 'The links are in replication_plugin.topology.';
	END IF;
	SELECT coalesce(array_agg(x ORDER BY p.provider, p.subscriber, place), '{}') INTO rest
		FROM replication_plugin.planned_links('{}') p, unnest(ARRAY[p.provider, p.subscriber]) WITH ORDINALITY u(x, place)
		WHERE p.provider <> ends[1] OR p.subscriber <> ends[2];
	PERFORM replication_plugin.store_topology('custom', '{}', rest);
END
$$;
COMMENT ON FUNCTION drop_link(text, text) IS 'takes a link out, if the others still connect all nodes; the topology is then custom';

CREATE FUNCTION pause_link(provider text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('pause_link()', provider);
	id := replication_plugin.other_node(provider);
	INSERT INTO replication_plugin.link AS l (provider, paused) VALUES (id, true)
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET paused = true;
END
$$;
COMMENT ON FUNCTION pause_link(text) IS 'stops taking changes from a node until resume_link(); it keeps them for us';

CREATE FUNCTION resume_link(provider text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('resume_link()', provider);
	id := replication_plugin.other_node(provider);
	UPDATE replication_plugin.link l SET paused = false WHERE l.provider = id;
END
$$;
COMMENT ON FUNCTION resume_link(text) IS 'takes changes from a node again';

CREATE FUNCTION skip_transaction(provider text, lsn pg_lsn) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	id integer;
BEGIN
	PERFORM replication_plugin.require_arguments('skip_transaction()', provider, lsn::text);
	id := replication_plugin.other_node(provider);
	INSERT INTO replication_plugin.link AS l (provider, skip_lsn) VALUES (id, ARRAY[lsn])
		ON CONFLICT ON CONSTRAINT link_pkey DO UPDATE SET skip_lsn = array_remove(l.skip_lsn, excluded.skip_lsn[1]) || excluded.skip_lsn;
	RAISE WARNING 'the transaction that node "%" committed at % will not be applied on this node', provider, lsn
		USING HINT = 'Its rows may then differ between this node and the others.';
END
$$;
COMMENT ON FUNCTION skip_transaction(text, pg_lsn) IS
	'last resort: does not apply one transaction of a provider, named by the LSN in links.last_error';

-- Notes whether a table is replicated; all nodes follow.
CREATE FUNCTION set_replicated(command text, relation regclass, on_or_off boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
BEGIN
	PERFORM replication_plugin.require_arguments(command, relation::text);
	IF EXISTS (SELECT FROM replication_plugin.local_node) THEN
		PERFORM replication_plugin.require_ready();
	END IF;
	SELECT n.nspname, k.relname, k.relkind, k.relispartition INTO c
		FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no relation with OID %', relation::oid USING ERRCODE = '42P01';
	END IF;
	IF c.relkind NOT IN ('r', 'p') OR c.nspname IN ('replication_plugin', 'information_schema') OR c.nspname ~ '^pg_' THEN
		RAISE EXCEPTION '"%" is no table that could be replicated', relation USING ERRCODE = '42809',
			HINT = 'Ordinary and partitioned tables outside system schemas are replicated.';
	END IF;
	IF c.relispartition THEN
		RAISE EXCEPTION '"%" is a partition', relation USING ERRCODE = '42809',
			HINT = 'Name the partitioned table; its partitions follow it.';
	END IF;
	LOCK TABLE replication_plugin.table_setting IN SHARE ROW EXCLUSIVE MODE; -- ON CONFLICT is not for tables read in decoding
	UPDATE replication_plugin.table_setting s SET replicated = on_or_off
		WHERE s.schema_name = c.nspname AND s.table_name = c.relname;
	IF NOT FOUND THEN
		INSERT INTO replication_plugin.table_setting VALUES (c.nspname, c.relname, on_or_off);
	END IF;
END
$$;
COMMENT ON FUNCTION set_replicated(text, regclass, boolean) IS 'notes whether a table is replicated; all nodes follow';

CREATE FUNCTION exclude_table(relation regclass) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.set_replicated('exclude_table()', relation, false); END $$;
COMMENT ON FUNCTION exclude_table(regclass) IS 'no longer replicates a table, on all nodes';

CREATE FUNCTION include_table(relation regclass) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.set_replicated('include_table()', relation, true); END $$;
COMMENT ON FUNCTION include_table(regclass) IS
	'replicates a table again, on all nodes; rows that differ by then stay different until they are written';

-- Whether a member has, durably, what was committed here up to a position. Asked where there is no slot for it here;
-- one that does not answer is known by its frontier row.
CREATE FUNCTION member_has(member integer, member_dsn text, target pg_lsn) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	me integer := replication_plugin.my_id();
	answer text[];
BEGIN
	SELECT q INTO answer FROM replication_plugin.remote_query(member_dsn,
		format('SELECT replication_plugin.origin_progress_durable(%s) >= %L', me, target)) q;
	RETURN coalesce(answer[1] = 't', false);
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
	RETURN EXISTS (SELECT FROM replication_plugin.frontier f WHERE f.node_id = member
		AND replication_plugin.frontier_lsn(f.vector, me) >= target);
END
$$;
COMMENT ON FUNCTION member_has(integer, text, pg_lsn) IS 'whether a member has what was committed here up to a position';

-- Commits an empty transaction that travels like a write; returns its position.
CREATE FUNCTION commit_mark() RETURNS pg_lsn LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	answer text[];
BEGIN
	SELECT q INTO answer FROM replication_plugin.remote_query((SELECT l.dsn FROM replication_plugin.local_node l),
		'SELECT replication_plugin.last_commit_lsn()', before => $q$ SELECT pg_logical_emit_message(true, 'replication_plugin', '') $q$) q;
	RETURN answer[1]::pg_lsn;
END
$$;
COMMENT ON FUNCTION commit_mark() IS 'commits an empty transaction that travels like a write; returns its position';

CREATE FUNCTION wait_for_apply(timeout interval DEFAULT '60 seconds') RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
	target pg_lsn := replication_plugin.flush_point();
	mark pg_lsn;
	n record;
BEGIN
	FOR n IN SELECT m.node_id, m.dsn, replication_plugin.slot_name(m.node_id) AS slot, p.provider IS NOT NULL AS linked
		FROM replication_plugin.node m
		LEFT JOIN replication_plugin.planned_links('{}') p ON p.provider = replication_plugin.my_id() AND p.subscriber = m.node_id
		WHERE m.state = 'ready' AND m.node_id <> replication_plugin.my_id() ORDER BY 4 DESC, 1
	LOOP
		LOOP
			IF n.linked THEN
				EXIT WHEN EXISTS (SELECT FROM pg_get_replication_slots() s WHERE s.slot_name = n.slot AND s.confirmed_flush_lsn >= target);
			ELSE
				mark := coalesce(mark, replication_plugin.commit_mark());
				EXIT WHEN replication_plugin.member_has(n.node_id, n.dsn, mark);
			END IF;
			-- it may be removed while we wait
			EXIT WHEN EXISTS (SELECT FROM replication_plugin.removal r WHERE r.node_id = n.node_id);
			IF clock_timestamp() >= deadline THEN
				RETURN false;
			END IF;
			PERFORM pg_sleep(0.02);
		END LOOP;
	END LOOP;
	RETURN true;
END
$$;
COMMENT ON FUNCTION wait_for_apply(interval) IS
	'waits until all other members have durably applied what was committed here before the call; false after the timeout';
-- What a table does with concurrent writes.

-- Raises an error unless a relation can be mergeable; returns its schema and name.
CREATE FUNCTION require_mergeable(relation regclass, OUT schema_name text, OUT table_name text) LANGUAGE plpgsql STABLE
AS $$
DECLARE
	c record;
	reason text;
BEGIN
	SELECT n.nspname, k.relname, k.relkind, k.relpersistence, k.relispartition,
		EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.oid AND i.indisprimary) AS has_key,
		coalesce((SELECT s.replicated FROM replication_plugin.table_setting s
			WHERE s.schema_name = n.nspname AND s.table_name = k.relname), true) AS replicated
		INTO c FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = relation;
	reason := CASE
		WHEN c IS NULL THEN 'it does not exist'
		WHEN c.relkind = 'p' OR c.relispartition THEN 'it is partitioned'
		WHEN c.relkind <> 'r' OR c.nspname IN ('replication_plugin', 'information_schema') OR c.nspname ~ '^pg_(?!temp)' THEN 'it is no ordinary table'
		WHEN c.relpersistence = 't' THEN 'it is temporary'
		WHEN c.relpersistence = 'u' THEN 'it is unlogged'
		WHEN NOT c.has_key THEN 'it has no primary key'
		WHEN NOT c.replicated THEN 'it is excluded from replication' END;
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION 'table "%" cannot have a conflict policy: %', relation, reason USING ERRCODE = '42809';
	END IF;
	schema_name := c.nspname;
	table_name := c.relname;
END
$$;
COMMENT ON FUNCTION require_mergeable(regclass) IS 'an error unless a relation can be mergeable';

-- Notes that a table is mergeable, on all nodes and for ever.
CREATE FUNCTION make_mergeable(schema_name text, table_name text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	LOCK TABLE replication_plugin.mergeable_table IN SHARE ROW EXCLUSIVE MODE; -- ON CONFLICT is not for tables read in decoding
	IF NOT EXISTS (SELECT FROM replication_plugin.mergeable_table m WHERE m.schema_name = $1 AND m.table_name = $2) THEN
		INSERT INTO replication_plugin.mergeable_table VALUES ($1, $2);
	END IF;
END
$$;
COMMENT ON FUNCTION make_mergeable(text, text) IS 'notes that a table is mergeable';

-- Joining: stores what was taken over with the rows.
CREATE FUNCTION import_states() RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.import_state(j.table_name::regclass, j.state) FROM replication_plugin.join_state j WHERE j.kind = 'state';
	PERFORM replication_plugin.import_parked(j.table_name::regclass, j.state) FROM replication_plugin.join_state j WHERE j.kind = 'parked';
	DELETE FROM replication_plugin.join_state;
END
$$;
COMMENT ON FUNCTION import_states() IS 'joining: stores what was taken over with the rows';

-- Notes that no write from before a table was mergeable can come any more; false if somebody is writing it.
CREATE FUNCTION settle_table(relid oid) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	SET LOCAL lock_timeout = '50ms';
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relid::regclass);
	INSERT INTO replication_plugin.merge_settled VALUES (relid) ON CONFLICT DO NOTHING;
	PERFORM replication_plugin.invalidate_table(relid);
	RETURN true;
EXCEPTION WHEN lock_not_available OR undefined_table THEN
	RETURN false;
END
$$;
COMMENT ON FUNCTION settle_table(oid) IS 'notes that no write from before a table was mergeable can come any more';

CREATE FUNCTION set_conflict_policy(relation regclass, policy text, handler regprocedure DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
BEGIN
	PERFORM replication_plugin.require_arguments('set_conflict_policy()', relation::text, policy);
	PERFORM replication_plugin.require_ready();
	IF policy NOT IN ('last_write_wins', 'siblings', 'handler', 'node_priority', 'first_write_wins') THEN
		RAISE EXCEPTION 'there is no conflict policy "%"', policy USING ERRCODE = '22023',
			HINT = 'Policies are last_write_wins, siblings, handler, node_priority and first_write_wins.';
	END IF;
	IF (policy = 'handler') <> (handler IS NOT NULL) THEN
		RAISE EXCEPTION 'policy "handler" needs a handler, and no other policy has one' USING ERRCODE = '22023',
			HINT = format('set_conflict_policy(%L, ''handler'', ''my_merge(%s,%s)'')', relation::text, relation::text, relation::text);
	END IF;
	c := replication_plugin.require_mergeable(relation);
	IF handler IS NOT NULL THEN
		PERFORM replication_plugin.check_handler(relation, handler);
	END IF;
	IF policy <> 'last_write_wins' THEN
		PERFORM replication_plugin.make_mergeable(c.schema_name, c.table_name);
	END IF;
	LOCK TABLE replication_plugin.table_setting IN SHARE ROW EXCLUSIVE MODE;
	UPDATE replication_plugin.table_setting s SET policy = $2, handler = $3::text
		WHERE s.schema_name = c.schema_name AND s.table_name = c.table_name;
	IF NOT FOUND THEN
		INSERT INTO replication_plugin.table_setting (schema_name, table_name, policy, handler)
			VALUES (c.schema_name, c.table_name, policy, handler::text);
	END IF;
END
$$;
COMMENT ON FUNCTION set_conflict_policy(regclass, text, regprocedure) IS
	'what happens with concurrent writes of a row, on all nodes: last_write_wins, siblings, handler (a function (older, newer) of the table''s rows), node_priority, first_write_wins';

CREATE FUNCTION set_column_merge(relation regclass, column_name text, merge text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
	a record;
	wrong boolean;
	before text;
	other boolean;
BEGIN
	PERFORM replication_plugin.require_arguments('set_column_merge()', relation::text, column_name, merge);
	PERFORM replication_plugin.require_ready();
	IF merge NOT IN ('last_write_wins', 'counter', 'set', 'map', 'none') THEN
		RAISE EXCEPTION 'there is no column merge "%"', merge USING ERRCODE = '22023',
			HINT = 'Column merges are counter, set, map, last_write_wins, and none.';
	END IF;
	c := replication_plugin.require_mergeable(relation);
	SELECT t.attnum, t.attgenerated, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation AND i.indisprimary AND t.attnum = ANY (i.indkey)) AS is_key
		INTO a FROM pg_attribute t WHERE t.attrelid = relation AND t.attname = column_name AND t.attnum > 0 AND NOT t.attisdropped;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table "%" has no column "%"', relation, column_name USING ERRCODE = '42703';
	END IF;
	IF a.is_key OR a.attgenerated <> '' THEN
		RAISE EXCEPTION 'column "%" cannot merge: it is %', column_name, CASE WHEN a.is_key THEN 'part of the primary key' ELSE 'generated' END
			USING ERRCODE = '42809';
	END IF;
	SELECT m.merge INTO before FROM replication_plugin.column_merge m
		WHERE (m.schema_name, m.table_name, m.column_name) = (c.schema_name, c.table_name, $2);
	IF merge = 'none' THEN
		UPDATE replication_plugin.column_merge m SET retired = true
			WHERE (m.schema_name, m.table_name, m.column_name) = (c.schema_name, c.table_name, $2);
		RETURN;
	END IF;
	PERFORM replication_plugin.check_merge(relation, column_name, merge);
	IF before <> merge THEN
		-- what nodes remember of its writes is of that kind; unless it is another column by now, of another type
		BEGIN
			PERFORM replication_plugin.check_merge(relation, column_name, before);
			other := false;
		EXCEPTION WHEN OTHERS THEN
			other := true;
		END;
		IF NOT other THEN
			RAISE EXCEPTION 'column "%" merges as %, which cannot become %', column_name, before, merge USING ERRCODE = '55000',
				HINT = 'Merge ''none'' has new writes replace the value as a whole; for another merge use a new column.';
		END IF;
	END IF;
	IF merge = 'set' THEN
		EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE array_ndims(%I) > 1)', relation, column_name) INTO wrong;
		IF wrong THEN
			RAISE EXCEPTION 'column "%" has arrays of several dimensions, which are no sets', column_name USING ERRCODE = '22023';
		END IF;
	END IF;
	PERFORM replication_plugin.make_mergeable(c.schema_name, c.table_name);
	INSERT INTO replication_plugin.column_merge AS m VALUES (c.schema_name, c.table_name, $2, $3)
		ON CONFLICT ON CONSTRAINT column_merge_pkey DO UPDATE SET merge = excluded.merge, retired = false;
END
$$;
COMMENT ON FUNCTION set_column_merge(regclass, text, text) IS
	'how concurrent changes of a column are put together, on all nodes: counter (numbers: differences add up), set (arrays), map (jsonb, by key), last_write_wins (by itself); none: new writes replace the value as a whole';

CREATE FUNCTION set_node_priority(nodes text[]) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments('set_node_priority()', nodes::text);
	PERFORM replication_plugin.require_ready();
	LOCK TABLE replication_plugin.node_priority IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO replication_plugin.node_priority (serial, set_by, nodes)
		SELECT coalesce(max(p.serial), 0) + 1, replication_plugin.my_id(), replication_plugin.ready_nodes($1)
		FROM replication_plugin.node_priority p;
END
$$;
COMMENT ON FUNCTION set_node_priority(text[]) IS
	'whose writes win under policy node_priority, the first most; nodes that are not named come last';

-- Raises an error unless an object has all columns of a table's key.
CREATE FUNCTION require_key(relation regclass, key jsonb) RETURNS void LANGUAGE plpgsql STABLE
AS $$
DECLARE
	missing text;
BEGIN
	PERFORM replication_plugin.require_arguments('this function', relation::text, key::text);
	SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) INTO missing
		FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
		WHERE i.indrelid = relation AND i.indisprimary AND coalesce(key -> a.attname, 'null') = 'null';
	IF missing IS NOT NULL OR jsonb_typeof(key) <> 'object' THEN
		RAISE EXCEPTION 'the key of table "%" is not complete: % missing', relation, missing USING ERRCODE = '22023',
			HINT = 'A key is an object like {"id": 42}, with all columns of the primary key.';
	END IF;
END
$$;
COMMENT ON FUNCTION require_key(regclass, jsonb) IS 'an error unless an object has all columns of a table''s key';

CREATE FUNCTION siblings(relation regclass, key jsonb, OUT version text, OUT node text, OUT written_at timestamptz,
	OUT deleted boolean, OUT "row" jsonb) RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_key(relation, key);
	RETURN QUERY EXECUTE format('SELECT s.version, coalesce(n.node_name, s.node_id::text), s.written_at, s.deleted, s."row"::jsonb'
		' FROM replication_plugin.siblings_of($1, jsonb_populate_record(NULL::%s, $2)) WITH ORDINALITY s(version, node_id, written_at, deleted, "row", place)'
		' LEFT JOIN replication_plugin.nodes n USING (node_id) ORDER BY s.place', relation)
		USING relation, key;
END
$$;
COMMENT ON FUNCTION siblings(regclass, jsonb) IS
	'the concurrent values of a row, newest first, the same on every node; none if it is just deleted; key like {"id": 42}; of one whose version is not kept any more, node and time are null';

CREATE FUNCTION causal_context(relation regclass, key jsonb) RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	context text;
BEGIN
	PERFORM replication_plugin.require_key(relation, key);
	EXECUTE format('SELECT replication_plugin.context_of($1, jsonb_populate_record(NULL::%s, $2))', relation)
		INTO context USING relation, key;
	RETURN context;
END
$$;
COMMENT ON FUNCTION causal_context(regclass, jsonb) IS
	'what a client that reads the row now has read: with SET LOCAL replication_plugin.causal_context its write replaces just that';

-- Waits until this node has had all that a context was read from.
CREATE FUNCTION wait_for_context(relation regclass, key jsonb, context text, timeout interval DEFAULT '10 seconds') RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + timeout;
	here boolean;
BEGIN
	PERFORM replication_plugin.require_key(relation, key);
	LOOP
		EXECUTE format('SELECT replication_plugin.context_is_here($1, jsonb_populate_record(NULL::%s, $2), $3)', relation)
			INTO here USING relation, key, context;
		IF here OR clock_timestamp() >= deadline THEN
			RETURN here;
		END IF;
		PERFORM pg_sleep(0.02);
	END LOOP;
END
$$;
COMMENT ON FUNCTION wait_for_context(regclass, jsonb, text, interval) IS
	'waits until this node has all that a causal context was read from; false after the timeout';

CREATE FUNCTION resolve(relation regclass, key jsonb, "row" jsonb, context text DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	columns text;
	sets text;
	on_key text;
	before text := current_setting('replication_plugin.causal_context');
BEGIN
	PERFORM replication_plugin.require_key(relation, key);
	IF context IS NOT NULL THEN
		IF NOT replication_plugin.wait_for_context(relation, key, context) THEN
			RAISE EXCEPTION 'this node does not have all that the causal context was read from yet' USING ERRCODE = '40001',
				HINT = 'Try again when it has arrived, or write on the node that was read from.';
		END IF;
	END IF;
	PERFORM set_config('replication_plugin.causal_context', coalesce(context, ''), true);
	SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum),
		string_agg(format('%1$I = excluded.%1$I', a.attname), ', ' ORDER BY a.attnum),
		string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE i.indexrelid IS NOT NULL)
		INTO columns, sets, on_key
		FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
		WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
	IF "row" IS NULL THEN
		EXECUTE format('DELETE FROM %1$s t USING jsonb_populate_record(NULL::%1$s, $1) k WHERE (%2$s) = (%3$s)', relation,
			(SELECT string_agg('t.' || c, ', ') FROM unnest(string_to_array(on_key, ', ')) c),
			(SELECT string_agg('k.' || c, ', ') FROM unnest(string_to_array(on_key, ', ')) c)) USING key;
	ELSE
		EXECUTE format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)'
			' ON CONFLICT (%3$s) DO UPDATE SET %4$s', relation, columns, on_key, sets) USING "row" || key;
	END IF;
	PERFORM set_config('replication_plugin.causal_context', before, true);
END
$$;
COMMENT ON FUNCTION resolve(regclass, jsonb, jsonb, text) IS
	'writes a row (null: deletes it) in the place of the siblings that the context names, or of all that this node has';

CREATE FUNCTION test_handler(relation regclass, local jsonb, remote jsonb, OUT local_older jsonb, OUT remote_older jsonb, OUT same boolean)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	function text;
	name record := replication_plugin.require_mergeable(relation);
BEGIN
	SELECT s.handler INTO function FROM replication_plugin.table_setting s
		WHERE s.schema_name = name.schema_name AND s.table_name = name.table_name AND s.policy = 'handler';
	IF function IS NULL THEN
		RAISE EXCEPTION 'table "%" has no handler', relation USING ERRCODE = '55000',
			HINT = format('SELECT replication_plugin.set_conflict_policy(%L, ''handler'', ...) sets one.', relation::text);
	END IF;
	EXECUTE format('SELECT replication_plugin.call_handler($1, $2, l, r)::jsonb, replication_plugin.call_handler($1, $2, r, l)::jsonb'
		' FROM jsonb_populate_record(NULL::%1$s, $3) l, jsonb_populate_record(NULL::%1$s, $4) r', relation)
		INTO local_older, remote_older USING relation, function::regprocedure, local, remote;
	same := local_older = remote_older;
END
$$;
COMMENT ON FUNCTION test_handler(regclass, jsonb, jsonb) IS
	'runs a table''s handler on two rows in both orders, with the rights of the caller, and writes nothing';
-- What people look at.

CREATE VIEW nodes AS
	SELECT n.node_id, n.node_name, replication_plugin.dsn_without_password(n.dsn) AS dsn,
		CASE WHEN l.state = 'ready' AND NOT l.announced AND n.state <> 'removed' THEN 'joining: announced'
			WHEN l.node_id IS NOT NULL AND (n.state <> 'removed' OR l.state = 'needs_rejoin') THEN l.state
			WHEN n.reason = 'needs_rejoin' THEN n.reason ELSE n.state END AS state,
		l.node_id IS NOT NULL AS is_local,
		CASE WHEN l.last_error IS NOT NULL THEN 'error: ' || l.last_error ELSE l.progress END AS progress,
		replication_plugin.clock_offset(n.node_id) AS clock_offset
	FROM replication_plugin.node n
	LEFT JOIN replication_plugin.local_node l ON l.node_id = n.node_id
	UNION ALL
	-- joining, and the table of nodes is not here yet
	SELECT l.node_id, l.node_name, replication_plugin.dsn_without_password(l.dsn), l.state, true,
		CASE WHEN l.last_error IS NOT NULL THEN 'error: ' || l.last_error ELSE l.progress END, NULL
	FROM replication_plugin.local_node l
	WHERE NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = l.node_id);
COMMENT ON VIEW nodes IS 'the members of the group, also former ones; clock_offset: by how much the node''s clock is ahead of this one''s';

-- Names of the origins that a link carries in full: its provider, and others by the list of the stream.
CREATE FUNCTION origin_names(provider integer, list text) RETURNS text[] LANGUAGE sql STABLE
AS $$
	SELECT array_agg(n.node_name ORDER BY n.node_id = provider DESC, n.node_id) FROM replication_plugin.node n
	WHERE n.node_id = provider OR list = 'all' AND n.state = 'ready'
		OR list ~ '^[0-9,]+$' AND n.node_id = ANY (string_to_array(list, ',')::integer[])
$$;
COMMENT ON FUNCTION origin_names(integer, text) IS 'names of the origins that a link carries in full';

CREATE VIEW links AS
	SELECT coalesce(n.node_name, 'node ' || s.provider) AS provider, s.state, s.received_lsn, s.applied_lsn,
		CASE WHEN s.provider_lsn IS NOT NULL AND s.applied_lsn IS NOT NULL
			THEN greatest(s.provider_lsn - s.applied_lsn, 0)::bigint END AS lag_bytes,
		CASE WHEN s.state = 'streaming' THEN interval '0'
			-- what was committed there before, is here
			ELSE greatest(clock_timestamp() - greatest(s.last_commit_at, s.caught_up_at), interval '0') END AS lag_time,
		s.transactions, s.rows, s.last_error, s.last_error_at, s.restarts,
		CASE WHEN s.blocked_on IS NOT NULL THEN coalesce(b.node_name, s.blocked_on::text) || ' ' || s.blocked_lsn END AS waits_for,
		s.blocked_since, replication_plugin.origin_names(s.provider, s.full_origins) AS full_origins, s.kind
	FROM replication_plugin.link_states() s
	LEFT JOIN replication_plugin.node n ON n.node_id = s.provider
	LEFT JOIN replication_plugin.node b ON b.node_id = s.blocked_on;
COMMENT ON VIEW links IS 'the links on which this node takes changes';

CREATE VIEW slots AS
	SELECT n.node_name AS subscriber, s.slot_name, s.active,
		(pg_current_wal_lsn() - s.restart_lsn)::bigint AS retained_bytes, s.confirmed_flush_lsn AS confirmed_lsn
	FROM replication_plugin.node n
	JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id)
	UNION ALL
	SELECT NULL, s.slot_name, s.active, (pg_current_wal_lsn() - s.restart_lsn)::bigint, s.confirmed_flush_lsn
	FROM pg_replication_slots s WHERE s.slot_name = replication_plugin.group_slot_name();
COMMENT ON VIEW slots IS 'what this node keeps for its subscribers; without a subscriber: the group slot, which has what any member may lack';

CREATE VIEW topology AS
	WITH planned AS (
		SELECT p.provider, p.subscriber, 'topology' AS kind, p.full_origins FROM replication_plugin.planned_links('{}') p),
	told AS ( -- what the subscribers say of their links; of ours we know more
		SELECT f.node_id AS subscriber, k.key::integer AS provider, k.value ->> 'kind' AS kind, k.value ->> 'state' AS state,
			k.value ->> 'full' AS list, (k.value ->> 'lag')::bigint AS lag_bytes, NULL::interval AS lag_time, f.written_at AS reported_at
		FROM replication_plugin.frontier f JOIN replication_plugin.node n USING (node_id), jsonb_each(f.links) k
		WHERE n.state = 'ready' AND f.node_id IS DISTINCT FROM replication_plugin.my_id()
		UNION ALL
		SELECT replication_plugin.my_id(), s.provider, s.kind, s.state, s.full_origins,
			CASE WHEN s.provider_lsn IS NOT NULL AND s.applied_lsn IS NOT NULL THEN greatest(s.provider_lsn - s.applied_lsn, 0)::bigint END,
			CASE WHEN s.state = 'streaming' THEN interval '0'
				ELSE greatest(clock_timestamp() - greatest(s.last_commit_at, s.caught_up_at), interval '0') END, clock_timestamp()
		FROM replication_plugin.link_states() s)
	SELECT p.node_name AS provider, s.node_name AS subscriber,
		coalesce(replication_plugin.origin_names(p.node_id, t.list),
			(SELECT array_agg(o.node_name ORDER BY o.node_id = p.node_id DESC, o.node_id) FROM replication_plugin.node o WHERE o.node_id = ANY (l.full_origins))) AS full_origins,
		CASE WHEN l.kind IS NOT NULL THEN l.kind WHEN 'joining' IN (p.state, s.state) THEN 'joining'
			WHEN t.kind = 'reroute' THEN t.kind ELSE 'ending' END AS kind, -- ending: of an earlier topology
		coalesce(t.state, 'not yet') AS state, t.lag_bytes, t.lag_time, t.reported_at
	FROM planned l
	FULL JOIN told t USING (provider, subscriber)
	JOIN replication_plugin.node p ON p.node_id = coalesce(l.provider, t.provider)
	JOIN replication_plugin.node s ON s.node_id = coalesce(l.subscriber, t.subscriber);
COMMENT ON VIEW topology IS
	'all links of the group: those to this node as they are, the others as their subscribers last said; kind: topology, reroute, joining, or ending (of an earlier topology)';

CREATE FUNCTION topology_graph(format text DEFAULT 'mermaid') RETURNS text LANGUAGE plpgsql STABLE
AS $$
DECLARE
	t record;
	out text;
	label text;
BEGIN
	IF format IS NULL OR format NOT IN ('mermaid', 'dot') THEN
		RAISE EXCEPTION 'there is no format "%"', format USING ERRCODE = '22023', HINT = 'Formats are mermaid and dot.';
	END IF;
	out := CASE format WHEN 'dot' THEN E'digraph topology {\n' ELSE E'graph LR\n' END;
	FOR t IN SELECT n.node_id, n.node_name, n.state FROM replication_plugin.nodes n
		WHERE n.state NOT IN ('removed', 'needs_rejoin') ORDER BY n.node_id
	LOOP
		label := translate(t.node_name, '"\', '''/') || CASE WHEN t.state = 'ready' THEN '' ELSE ' (' || t.state || ')' END;
		out := out || CASE format WHEN 'dot' THEN format(E'  n%s [label="%s"];\n', t.node_id, label)
			ELSE format(E'  n%s["%s"]\n', t.node_id, label) END;
	END LOOP;
	FOR t IN SELECT v.*, p.node_id AS pid, s.node_id AS sid FROM replication_plugin.topology v
		JOIN replication_plugin.node p ON p.node_name = v.provider AND p.state = 'ready'
		JOIN replication_plugin.node s ON s.node_name = v.subscriber AND s.state = 'ready' ORDER BY p.node_id, s.node_id
	LOOP
		label := t.state || CASE WHEN t.kind = 'reroute' THEN ', reroute' ELSE '' END
			|| CASE WHEN t.lag_bytes > 0 THEN ', ' || pg_size_pretty(t.lag_bytes) || ' behind' ELSE '' END;
		out := out || CASE format WHEN 'dot'
			THEN format(E'  n%s -> n%s [label="%s"%s];\n', t.pid, t.sid, label, CASE t.kind WHEN 'reroute' THEN ', style=dashed' ELSE '' END)
			ELSE format(E'  n%s %s|"%s"| n%s\n', t.pid, CASE t.kind WHEN 'reroute' THEN '-.->' ELSE '-->' END, label, t.sid) END;
	END LOOP;
	RETURN out || CASE format WHEN 'dot' THEN E'}\n' ELSE '' END;
END
$$;
COMMENT ON FUNCTION topology_graph(text) IS 'the topology as text to draw: mermaid or dot (Graphviz), with states and lag';

CREATE VIEW progress AS
	SELECT n.node_name AS origin, replication_plugin.origin_progress(n.node_id) AS lsn,
		s.last_commit_at AS commit_timestamp
	FROM replication_plugin.node n
	JOIN pg_replication_origin o ON o.roname = replication_plugin.origin_name(n.node_id::text)
	LEFT JOIN replication_plugin.link_states() s ON s.provider = n.node_id;
COMMENT ON VIEW progress IS 'how far the transactions of each node have been applied here';

CREATE VIEW tables AS
	SELECT c.oid::regclass AS "table", coalesce(s.replicated, true) AS replicated, i.identity,
		coalesce(s.policy, 'last_write_wins') AS policy,
		(SELECT string_agg(m.column_name || ' ' || m.merge, ', ' ORDER BY m.column_name) FROM replication_plugin.column_merge m
			WHERE m.schema_name = n.nspname AND m.table_name = c.relname AND NOT m.retired) AS merges,
		CASE WHEN NOT coalesce(s.replicated, true) THEN 'excluded by exclude_table()'
			 WHEN i.identity = 'none' THEN 'rows have no key: UPDATE and DELETE are refused; add a primary key, set REPLICA IDENTITY FULL, or exclude the table'
			 WHEN i.identity = 'full' THEN 'rows have no key: conflicts cannot be resolved, rows that were changed on two nodes at once may differ' END AS note
	FROM pg_class c
	JOIN pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN replication_plugin.table_setting s ON s.schema_name = n.nspname AND s.table_name = c.relname,
	LATERAL (SELECT coalesce((SELECT 'key (' || string_agg(a.attname, ', ' ORDER BY k.place) || ')'
			FROM pg_index x, unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY k(attnum, place), pg_attribute a
			WHERE x.indexrelid = (SELECT y.indexrelid FROM pg_index y
					WHERE y.indrelid = c.oid AND y.indisvalid AND y.indimmediate AND (y.indisreplident AND c.relreplident = 'i' OR y.indisprimary)
					ORDER BY (y.indisreplident AND c.relreplident = 'i') DESC LIMIT 1)
				AND a.attrelid = c.oid AND a.attnum = k.attnum),
			CASE c.relreplident WHEN 'f' THEN 'full' ELSE 'none' END) AS identity) i
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND c.oid >= 16384
		AND n.nspname NOT IN ('replication_plugin', 'information_schema') AND n.nspname !~ '^pg_';
COMMENT ON VIEW tables IS 'the tables of this database: whether and how they are replicated, and what becomes of concurrent writes; merges: columns that merge';

-- Whether the reader of a view may see rows of a table: he has SELECT, and no row security hides any from him.
CREATE FUNCTION may_read(relid oid) RETURNS boolean LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = relid)
		THEN has_table_privilege(relid, 'SELECT') AND NOT row_security_active(relid)
		ELSE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) END;
END
$$;
COMMENT ON FUNCTION may_read(oid) IS 'whether the caller may see all rows of a table';

CREATE VIEW conflicts WITH (security_barrier) AS
	SELECT c.detected_at, c.table_name, c.conflict_type, c.resolution, c.row_key, c.local_row,
		coalesce(l.node_name, c.local_origin::text) AS local_origin, c.local_timestamp,
		c.remote_row, coalesce(r.node_name, c.remote_origin::text) AS remote_origin, c.remote_timestamp,
		c.concurrent, c.policy, c.detail
	FROM replication_plugin.conflict_log c
	LEFT JOIN replication_plugin.node l ON l.node_id = c.local_origin
	LEFT JOIN replication_plugin.node r ON r.node_id = c.remote_origin
	WHERE replication_plugin.may_read(c.relid);
COMMENT ON VIEW conflicts IS 'writes that lost, or replaced a concurrent one; rows of tables that the reader may read';

CREATE VIEW conflict_stats AS
	SELECT c.table_name, c.conflict_type, c.resolution, sum(c.n)::bigint AS count, max(c.last_at) AS last_at,
		sum(c.not_logged)::bigint AS not_logged
	FROM replication_plugin.conflict_count c
	GROUP BY 1, 2, 3;
COMMENT ON VIEW conflict_stats IS 'how many conflicts there were, by table, type and resolution; not_logged: those that the view conflicts does not show';

CREATE VIEW unresolved WITH (security_barrier) AS
	SELECT r.relid::regclass AS "table", replication_plugin.stored_key('row_state', r.ctid) AS row_key, r.siblings::integer AS siblings
	FROM replication_plugin.row_state r WHERE r.siblings > 1 AND replication_plugin.may_read(r.relid);
COMMENT ON VIEW unresolved IS 'rows of mergeable tables that have more than one value; see siblings()';

CREATE VIEW parked_rows WITH (security_barrier) AS
	SELECT p.relid::regclass AS "table", coalesce(i.relname, p.index_id::text) AS "constraint",
		replication_plugin.stored_key('parked_row', p.ctid) AS row_key, replication_plugin.parked_json(p.ctid) AS "row",
		p.node || ':' || p.ts AS version,
		coalesce(n.node_name, p.node::text) AS node,
		replication_plugin.stored_key('blocked_by', p.ctid) AS blocked_by, p.parked_at, p.error
	FROM replication_plugin.parked_row p
	LEFT JOIN pg_class i ON i.oid = p.index_id
	LEFT JOIN replication_plugin.node n ON n.node_id = p.node
	WHERE replication_plugin.may_read(p.relid);
COMMENT ON VIEW parked_rows IS
	'rows that a table does not show, as newer ones are in their way by a unique key or an exclusion constraint; they come back when their place is free; error: why one could not';

CREATE FUNCTION dangling_references(OUT "constraint" text, OUT "table" regclass, OUT "row" jsonb, OUT missing_in regclass, OUT missing jsonb)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
	parts record;
	shown text;
BEGIN
	FOR c IN SELECT k.conname, k.conrelid, k.confrelid, k.conkey, k.confkey, k.conpfeqop FROM pg_constraint k
		JOIN pg_class r ON r.oid = k.conrelid JOIN pg_namespace s ON s.oid = r.relnamespace
		WHERE k.contype = 'f' AND k.conparentid = 0 AND s.nspname <> 'replication_plugin'
			AND replication_plugin.may_read(k.conrelid) AND replication_plugin.may_read(k.confrelid)
		ORDER BY k.conrelid::regclass::text, k.conname
	LOOP
		-- values of other than built-in types as text, by their output functions: casts to json can be anybody's
		SELECT string_agg(format('c.%I IS NOT NULL', a.attname), ' AND ' ORDER BY u.place) AS complete,
			string_agg(format('p.%I OPERATOR(%I.%s) c.%I', b.attname, n.nspname, o.oprname, a.attname), ' AND ' ORDER BY u.place) AS equal,
			string_agg(format(CASE WHEN a.atttypid < 16384 THEN '%L, c.%I' ELSE '%L, format(''%%s'', c.%I)' END, b.attname, a.attname), ', ' ORDER BY u.place) AS missing
			INTO parts
			FROM unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY u(att, refatt, op, place)
			JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.att
			JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = u.refatt
			JOIN pg_operator o ON o.oid = u.op JOIN pg_namespace n ON n.oid = o.oprnamespace;
		SELECT string_agg(format(CASE WHEN a.atttypid < 16384 THEN '%L, c.%I' ELSE '%L, format(''%%s'', c.%I)' END, a.attname, a.attname), ', ' ORDER BY a.attnum)
			INTO shown
			FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum > 0 AND NOT a.attisdropped
				AND (a.attnum = ANY (c.conkey) OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)));
		RETURN QUERY EXECUTE format('SELECT %L::text, %L::regclass, jsonb_build_object(%s), %L::regclass, jsonb_build_object(%s) FROM %s c'
			' WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)', c.conname, c.conrelid::regclass::text, shown, c.confrelid::regclass::text, parts.missing,
			c.conrelid::regclass, parts.complete, c.confrelid::regclass, parts.equal);
	END LOOP;
END
$$;
COMMENT ON FUNCTION dangling_references() IS
	'rows (key and reference) whose foreign key points to a row that is not there: a concurrent delete won, or the row is parked; of tables that the caller may read. Reads all of them';
-- Only views that give nothing away, and waiting, are for everybody.
REVOKE ALL ON ALL TABLES IN SCHEMA replication_plugin FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA replication_plugin FROM PUBLIC;
GRANT USAGE ON SCHEMA replication_plugin TO PUBLIC;
GRANT SELECT ON nodes, slots, tables, conflicts, conflict_stats TO PUBLIC;
-- errors of links can hold values of rows
GRANT SELECT ON links, progress, topology TO pg_monitor;
GRANT EXECUTE ON FUNCTION link_states(), origin_progress(integer), topology_graph(text), planned_links(integer[]),
	current_topology(), topology_plan(text, integer[], integer[], integer[], integer[], integer, integer[]) TO pg_monitor;
ALTER FUNCTION planned_links(integer[]) SECURITY DEFINER;
ALTER FUNCTION topology_graph(text) SECURITY DEFINER;
-- what those views call (with the rights of the reader)
GRANT EXECUTE ON FUNCTION dsn_without_password(text), clock_offset(integer), slot_name(integer), origin_name(text),
	may_read(oid), my_id(), group_slot_name(), origin_names(integer, text) TO PUBLIC;
-- these look at the caller's rights on the table themselves
GRANT SELECT ON unresolved, parked_rows TO PUBLIC;
GRANT EXECUTE ON FUNCTION parked_json(tid), parked_of(anyelement), dangling_references() TO PUBLIC;
GRANT EXECUTE ON FUNCTION siblings(regclass, jsonb), siblings_of(regclass, record), causal_context(regclass, jsonb), context_of(regclass, record),
	context_is_here(regclass, record, text), wait_for_context(regclass, jsonb, text, interval), resolve(regclass, jsonb, jsonb, text),
	require_key(regclass, jsonb), require_arguments(text, text[]), stored_key(text, tid) TO PUBLIC;
ALTER FUNCTION origin_names(integer, text) SECURITY DEFINER;
GRANT EXECUTE ON FUNCTION wait_for_apply(interval), flush_point() TO PUBLIC;
ALTER FUNCTION wait_for_apply(interval) SECURITY DEFINER;
ALTER FUNCTION my_id() SECURITY DEFINER;

-- Names in function bodies mean what they mean here, whatever search_path the caller has: else
-- a reader of the view conflicts could bring his own has_table_privilege().
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
		WHERE p.pronamespace = 'replication_plugin'::regnamespace AND l.lanname IN ('sql', 'plpgsql')
	LOOP
		EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', f);
	END LOOP;
END
$$;
