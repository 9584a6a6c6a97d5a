-- What people without special rights can do and see.
\set SHOW_CONTEXT never
\set home :DBNAME
CREATE DATABASE regression_rights TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
ALTER DATABASE regression_rights SET lc_messages = 'C';
\c regression_rights
CREATE EXTENSION replication_plugin;
SELECT format('host=%s port=%s user=%s dbname=regression_rights', split_part(current_setting('unix_socket_directories'), ',', 1),
	current_setting('port'), session_user) AS own \gset
CREATE ROLE regress_alice;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE TABLE hers (id int PRIMARY KEY);
CREATE TABLE guarded (id int PRIMARY KEY);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE secret (id int PRIMARY KEY);
GRANT SELECT ON hers, guarded TO regress_alice;
SELECT replication_plugin.create_group('g', 'a', :'own' || ' password=secret');

-- functions that anybody may call; all have a comment
SELECT p.oid::regprocedure AS function FROM pg_proc p
	WHERE p.pronamespace = 'replication_plugin'::regnamespace AND has_function_privilege('regress_alice', p.oid, 'EXECUTE')
	ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
	WHERE p.pronamespace = 'replication_plugin'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
-- names in function bodies do not depend on the caller
SELECT p.oid::regprocedure AS without_search_path FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = 'replication_plugin'::regnamespace AND l.lanname IN ('sql', 'plpgsql') AND p.proconfig IS NULL;
-- tables and views
SELECT c.relname, string_agg(r, ', ' ORDER BY r COLLATE "C") AS readers FROM pg_class c, unnest('{regress_alice,regress_monitor}'::text[]) r
	WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege(r, c.oid, 'SELECT')
	GROUP BY 1 ORDER BY 1;
SELECT c.relname FROM pg_class c, unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p
	WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege('regress_alice', c.oid, p);

SET ROLE regress_alice;
SELECT replication_plugin.create_group('x', 'y', 'dbname=z');
SELECT replication_plugin.join_group('x', 'dbname=y', 'dbname=z');
SELECT replication_plugin.remove_node('a');
SELECT replication_plugin.leave_group();
SELECT replication_plugin.exclude_table('hers');
SELECT replication_plugin.skip_transaction('b', '0/1');
SELECT * FROM replication_plugin.remote_query('dbname=x', 'SELECT 1');
SELECT dsn FROM replication_plugin.node;
SELECT dsn FROM replication_plugin.local_node;
SELECT local_row FROM replication_plugin.conflict_log;
SELECT * FROM replication_plugin.links;
SELECT node_name, dsn ~ 'password' AS shows_password, state FROM replication_plugin.nodes;
SELECT count(*) < 2 AS may_look FROM replication_plugin.slots; -- the group slot is made any moment
SELECT replication_plugin.wait_for_apply();
RESET ROLE;
SET ROLE regress_monitor;
SELECT * FROM replication_plugin.links;
SELECT * FROM replication_plugin.progress;
RESET ROLE;

-- conflicts: of tables that the reader may read, all rows of them
INSERT INTO replication_plugin.conflict_log (detected_at, relid, table_name, conflict_type, resolution, row_key)
	SELECT now(), t::regclass, 'public.' || t, 'insert_exists', 'keep_local', '{"id": 1}' FROM unnest('{hers,guarded,secret}'::text[]) t;
INSERT INTO replication_plugin.conflict_log (detected_at, relid, table_name, conflict_type, resolution, row_key)
	VALUES (now(), 999999, 'public.dropped', 'insert_exists', 'keep_local', '{"id": 1}');
SELECT table_name, row_key FROM replication_plugin.conflicts ORDER BY 1;
SET ROLE regress_alice;
SELECT table_name, row_key FROM replication_plugin.conflicts ORDER BY 1;
RESET ROLE;
-- with functions and tables of one's own in front of the system's
CREATE SCHEMA trick AUTHORIZATION regress_alice;
SET ROLE regress_alice;
CREATE FUNCTION trick.has_table_privilege(oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION trick.row_security_active(oid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE VIEW trick.pg_roles AS SELECT true AS rolsuper, current_user AS rolname;
SET search_path = trick, pg_catalog;
SELECT table_name, row_key FROM replication_plugin.conflicts ORDER BY 1;
RESET search_path;
-- a function that would see rows before the view has filtered them
CREATE FUNCTION trick.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN RAISE NOTICE ''saw %'', $1; RETURN true; END';
SELECT table_name FROM replication_plugin.conflicts WHERE trick.leak(table_name) ORDER BY 1;
RESET ROLE;
SELECT * FROM replication_plugin.conflict_stats;

-- parked rows: likewise (in which there is nothing that could be read as a key, or a row)
INSERT INTO replication_plugin.parked_row
	SELECT t::regclass, 0, '\x0000', 0, 1, '\x00000000', t::regclass, '\x0000', now() FROM unnest('{hers,guarded,secret}'::text[]) t;
SELECT "table", "constraint", row_key, blocked_by FROM replication_plugin.parked_rows ORDER BY 1;
SET ROLE regress_alice;
SELECT "table", "row" FROM replication_plugin.parked_rows ORDER BY 1;
SELECT * FROM replication_plugin.parked_of(NULL::hers);
SELECT * FROM replication_plugin.parked_of(NULL::guarded);
SELECT * FROM replication_plugin.parked_of(NULL::secret);
SELECT * FROM replication_plugin.parked_of(1);
SELECT replication_plugin.stored_key('parked_row', '(0,1)'), replication_plugin.stored_key('parked_row', '(0,3)'),
	replication_plugin.stored_key('parked_row', '(99,9)'), replication_plugin.parked_json('(0,3)');
SELECT * FROM replication_plugin.dangling_references();
RESET ROLE;

SELECT replication_plugin.leave_group();
DROP OWNED BY regress_alice;
\c :home
DO $$
BEGIN
	FOR i IN 1..1800 LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname ~ '^regression_rights$');
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
DROP DATABASE regression_rights;
DROP ROLE regress_alice, regress_monitor;
