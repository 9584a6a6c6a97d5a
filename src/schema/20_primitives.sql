-- What SQL alone cannot do. These are for the functions of this extension and for its
-- workers on other nodes; nobody else may call them.

CREATE FUNCTION instance_token() RETURNS bigint
AS 'MODULE_PATHNAME', 'replication_plugin_instance_token' LANGUAGE C STRICT;
COMMENT ON FUNCTION instance_token() IS 'random number of this server''s run: tells a copy of a server from the server';

CREATE FUNCTION unmet_requirement(OUT problem text, OUT fix text)
AS 'MODULE_PATHNAME', 'replication_plugin_unmet_requirement' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION unmet_requirement() IS
	'what this server lacks so that writes of a node are refused, and what to do; nulls: nothing';

CREATE FUNCTION value_layout() RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_value_layout' LANGUAGE C STRICT;
COMMENT ON FUNCTION value_layout() IS 'memory layout of values; between servers with the same, values travel as they are';

CREATE FUNCTION this_library(OUT version text, OUT oldest_protocol integer, OUT newest_protocol integer, OUT features text)
AS 'MODULE_PATHNAME', 'replication_plugin_this_library' LANGUAGE C STABLE;
COMMENT ON FUNCTION this_library() IS 'version of the library, the protocols between nodes that it speaks, and its features, with commas between';

CREATE FUNCTION group_protocol() RETURNS integer
AS 'MODULE_PATHNAME', 'replication_plugin_group_protocol' LANGUAGE C STABLE;
COMMENT ON FUNCTION group_protocol() IS 'protocol on which the members have agreed; finish_upgrade() raises it';

CREATE FUNCTION require_feature(name text) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_require_feature' LANGUAGE C STRICT STABLE;
COMMENT ON FUNCTION require_feature(text) IS 'an error unless the members have agreed on a protocol that has the feature; it names those that lack it';

CREATE FUNCTION dsn_without_password(dsn text) RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_dsn_without_password' LANGUAGE C STRICT;
COMMENT ON FUNCTION dsn_without_password(text) IS 'the dsn without its secrets; an error if it cannot be parsed';

CREATE FUNCTION hide_secrets(local boolean) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_hide_secrets' LANGUAGE C STRICT;
COMMENT ON FUNCTION hide_secrets(boolean) IS
	'keeps the statements of this session, or transaction, out of the log, pg_stat_activity, auto_explain and pg_stat_statements, as they can have passwords in them';

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

CREATE FUNCTION row_of_json(relation regclass, "values" jsonb) RETURNS record
AS 'MODULE_PATHNAME', 'replication_plugin_row_of_json' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION row_of_json(regclass, jsonb) IS 'a row of a table from an object of column values, null where it has none, read with the rights of the table''s owner';

CREATE FUNCTION rows_of_query(query text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_rows_of_query' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION rows_of_query(text) IS 'the rows of a query of the caller''s, after which all settings are as before: planning it computes what is constant in expressions of indexes, which are the owners'' code';

CREATE FUNCTION row_of(base anyelement, "values" jsonb) RETURNS anyelement
AS 'MODULE_PATHNAME', 'replication_plugin_row_of' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION row_of(anyelement, jsonb) IS 'the same, of the table whose row type the first argument has';

CREATE FUNCTION siblings_of(relation regclass, key record, OUT version text, OUT node_id integer, OUT written_at timestamptz,
	OUT deleted boolean, OUT "row" json) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_siblings_of' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION siblings_of(regclass, record) IS 'the concurrent values of the row with the key of another row, newest first';

CREATE FUNCTION delete_unshown(relation regclass, key record) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_delete_unshown' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION delete_unshown(regclass, record) IS
	'deletes a row that the table does not show, as the newest of its values is a delete, or as it is parked; DELETE does not find it';

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
	'whether all that a row state says of deletes and merged columns is covered by a vector of timestamps; the transaction that stored it has the version given';

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
COMMENT ON FUNCTION loopback(text) IS 'runs a statement in this database in a transaction of its own, if the dsn of this node leads here; nothing, if it is empty';

CREATE FUNCTION run_apart(sql text) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_run_apart' LANGUAGE C STRICT;
COMMENT ON FUNCTION run_apart(text) IS 'runs a statement in this database in a transaction of its own';

CREATE FUNCTION link_states(OUT provider integer, OUT state text, OUT pid integer,
	OUT received_lsn pg_lsn, OUT applied_lsn pg_lsn, OUT provider_lsn pg_lsn, OUT last_commit_at timestamptz,
	OUT transactions bigint, OUT rows bigint, OUT last_error text, OUT last_error_at timestamptz,
	OUT restarts bigint, OUT blocked_on integer, OUT blocked_lsn pg_lsn, OUT blocked_since timestamptz,
	OUT caught_up_at timestamptz, OUT full_origins text, OUT kind text, OUT protocol integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_link_states' LANGUAGE C STRICT;
COMMENT ON FUNCTION link_states() IS 'what this database''s link workers are doing';

CREATE FUNCTION transaction_at_hand(OUT node_id integer, OUT lsn pg_lsn)
AS 'MODULE_PATHNAME', 'replication_plugin_transaction_at_hand' LANGUAGE C STRICT;
COMMENT ON FUNCTION transaction_at_hand() IS 'after an error in a walsender''s stream, in the same session: which transaction it was about to send';

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

CREATE FUNCTION create_origin(node_id integer) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_create_origin' LANGUAGE C STRICT;
COMMENT ON FUNCTION create_origin(integer) IS 'makes the replication origin of a node, if there is none; it can be used when the transaction has committed';

CREATE FUNCTION drop_origins() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_drop_origins' LANGUAGE C STRICT;
COMMENT ON FUNCTION drop_origins() IS 'drops all replication origins of this database''s group';

CREATE FUNCTION exclusion(schema_name text, table_name text) RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_exclusion' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION exclusion(text, text) IS 'why a table of that name is not replicated; null if it is';

CREATE FUNCTION capture_install(relation regclass) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_capture_install' LANGUAGE C STRICT;
CREATE FUNCTION capture_install_all() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_capture_install_all' LANGUAGE C STRICT;
CREATE FUNCTION capture_remove_all() RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_capture_remove_all' LANGUAGE C STRICT;
COMMENT ON FUNCTION capture_install(regclass) IS 'gives a table the internal triggers that it needs';
COMMENT ON FUNCTION capture_install_all() IS 'gives all tables the internal triggers that they need';
COMMENT ON FUNCTION capture_remove_all() IS 'removes the internal triggers of this extension';

CREATE FUNCTION resend_rows(relation regclass) RETURNS bigint
AS 'MODULE_PATHNAME', 'replication_plugin_resend_rows' LANGUAGE C STRICT;
COMMENT ON FUNCTION resend_rows(regclass) IS 'writes all rows of a table anew; returns how many';

CREATE FUNCTION delete_key(relation regclass, key text[]) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_delete_key' LANGUAGE C STRICT;
COMMENT ON FUNCTION delete_key(regclass, text[]) IS 'sends the delete of a row that is not here';

CREATE FUNCTION runs_code(relation regclass) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_runs_code' LANGUAGE C STRICT STABLE;
COMMENT ON FUNCTION runs_code(regclass) IS
	'whether writing rows of a table as replication does can run functions that are not built in';

CREATE FUNCTION code_search_path(owner oid) RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_code_search_path' LANGUAGE C STRICT STABLE;
COMMENT ON FUNCTION code_search_path(oid) IS
	'the search_path under which functions run that come with tables of a role: that of its sessions in this database, pg_catalog first, pg_temp last';

CREATE FUNCTION copy_table(snapshot text, schema_name text, table_name text, columns text[], with_children boolean,
	as_binary boolean, empty_first boolean, OUT rows bigint, OUT bytes bigint)
AS 'MODULE_PATHNAME', 'replication_plugin_copy_table' LANGUAGE C STRICT;
COMMENT ON FUNCTION copy_table(text, text, text, text[], boolean, boolean, boolean) IS
	'joining: copies a table from the source''s snapshot';

CREATE FUNCTION empty_tables(relations regclass[]) RETURNS void
AS 'MODULE_PATHNAME', 'replication_plugin_empty_tables' LANGUAGE C STRICT;
COMMENT ON FUNCTION empty_tables(regclass[]) IS 'joining: empties tables without firing their triggers';

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
