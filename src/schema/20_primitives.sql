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

CREATE FUNCTION remote_query(dsn text, sql text) RETURNS SETOF text[]
AS 'MODULE_PATHNAME', 'replication_plugin_remote_query' LANGUAGE C STRICT;
COMMENT ON FUNCTION remote_query(text, text) IS 'rows of a query on another node, as texts';

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
	OUT caught_up_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'replication_plugin_link_states' LANGUAGE C STRICT;
COMMENT ON FUNCTION link_states() IS 'what this database''s link workers are doing';

CREATE FUNCTION manager_pid() RETURNS integer
AS 'MODULE_PATHNAME', 'replication_plugin_manager_pid' LANGUAGE C STRICT;
COMMENT ON FUNCTION manager_pid() IS 'process of this database''s manager, null if none';

CREATE FUNCTION origin_progress(node_id integer) RETURNS pg_lsn
AS 'MODULE_PATHNAME', 'replication_plugin_origin_progress' LANGUAGE C STRICT;
COMMENT ON FUNCTION origin_progress(integer) IS 'how far a node''s transactions are applied here; null if there are none';

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
COMMENT ON FUNCTION capture_row() IS 'trigger: remembers deleted keys';
COMMENT ON FUNCTION capture_truncate() IS 'trigger: remembers the keys that a TRUNCATE deletes';
COMMENT ON FUNCTION capture_no_key() IS 'trigger: refuses UPDATE and DELETE where rows have no key';
COMMENT ON FUNCTION capture_ddl() IS 'event trigger: keeps the internal triggers right after DDL';
COMMENT ON FUNCTION settings_changed() IS 'trigger: wakes the manager, drops caches';

-- They fire also for rows that arrive from other nodes.
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON node
	FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE node ENABLE ALWAYS TRIGGER changed;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON slot_made
	FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE slot_made ENABLE ALWAYS TRIGGER changed;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON link
	FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE link ENABLE ALWAYS TRIGGER changed;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON local_node
	FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE local_node ENABLE ALWAYS TRIGGER changed;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON table_setting
	FOR EACH ROW EXECUTE FUNCTION settings_changed();
ALTER TABLE table_setting ENABLE ALWAYS TRIGGER changed;

CREATE EVENT TRIGGER replication_plugin_ddl ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'CREATE INDEX',
				 'ALTER INDEX', 'DROP INDEX', 'CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE SCHEMA', 'CREATE EXTENSION',
				 'ALTER EXTENSION')
	EXECUTE FUNCTION capture_ddl();
ALTER EVENT TRIGGER replication_plugin_ddl ENABLE ALWAYS;
