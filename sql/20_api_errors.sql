--
-- Commands and their errors, on one server.
--
\set home :DBNAME
CREATE DATABASE regression_errors TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
ALTER DATABASE regression_errors SET lc_messages = 'C';
\c regression_errors
SET client_min_messages = warning;
CREATE EXTENSION replication_plugin;
SET client_min_messages = notice;

-- The dsn of a database of this server.
CREATE FUNCTION dsn_of(db text) RETURNS text LANGUAGE sql AS $$
	SELECT format('host=%s port=%s user=%s dbname=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
		current_setting('port'), session_user, db)
$$;
-- Runs a statement and shows its error without what differs from run to run.
CREATE FUNCTION try(statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	message text; more text; advice text;
	socket text := split_part(current_setting('unix_socket_directories'), ',', 1);
BEGIN
	EXECUTE statement;
	RAISE INFO 'no error';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, more = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	message := replace(replace(message, socket, 'SOCKET'), current_setting('port'), 'PORT');
	message := replace(message, 'user=' || session_user, 'user=USER');
	message := regexp_replace(message, '(?!00000000)[0-9a-f]{8}-[0-9a-f-]{27}', 'UUID', 'g');
	RAISE INFO E'% %\n  detail: %\n  hint: %', SQLSTATE, message, nullif(more, ''), nullif(advice, '');
END
$$;
\set VERBOSITY terse

--
-- before there is a group
--
SELECT replication_plugin.remove_node('a');
SELECT replication_plugin.leave_group();
SELECT replication_plugin.leave_group('1 second');
SELECT replication_plugin.forget_group();
SELECT replication_plugin.pause_link('a');
SELECT replication_plugin.resume_link('a');
SELECT replication_plugin.skip_transaction('a', '0/1');
SELECT replication_plugin.wait_until_ready();
SELECT replication_plugin.wait_until_ready('0');
SELECT try('SELECT replication_plugin.remove_node(''a'')');
SELECT try('SELECT replication_plugin.wait_until_ready()');
-- nobody to wait for
SELECT replication_plugin.wait_for_apply('0');
SELECT replication_plugin.my_id() IS NULL AS no_node;
SELECT * FROM replication_plugin.nodes;
SELECT * FROM replication_plugin.links;
SELECT * FROM replication_plugin.slots;
SELECT * FROM replication_plugin.progress;
SELECT * FROM replication_plugin.conflicts;
SELECT * FROM replication_plugin.conflict_stats;
-- null is no argument
SELECT replication_plugin.create_group(NULL, 'a', 'b');
SELECT replication_plugin.create_group('g', NULL, 'b');
SELECT replication_plugin.create_group('g', 'a', NULL);
SELECT replication_plugin.remove_node(NULL);
SELECT replication_plugin.leave_group(NULL);
SELECT replication_plugin.pause_link(NULL);
SELECT replication_plugin.resume_link(NULL);
SELECT replication_plugin.skip_transaction(NULL, '0/1');
SELECT replication_plugin.skip_transaction('a', NULL);
SELECT replication_plugin.include_table(NULL);
SELECT count(*) FROM replication_plugin.local_node;

--
-- create_group
--
SELECT try('SELECT replication_plugin.create_group(''g'', ''a'', ''no dsn'')');
SELECT try('SELECT replication_plugin.create_group(''g'', ''a'', ''host=x no_such_key=1'')');
-- what could be a password is not repeated
SELECT try('SELECT replication_plugin.create_group(''g'', ''a'', ''host=x password=secret secret'')');
SELECT try('SELECT replication_plugin.create_group(''g'', ''a'', ''postgresql://u:secret@x:y:z/'')');
SELECT try(format('SELECT replication_plugin.create_group(''g'', ''a'', %L)', dsn_of('no_such_database')));
SELECT try(format('SELECT replication_plugin.create_group(''g'', ''a'', %L)', dsn_of(current_database()) || ' user=no_such_user'));
SELECT try(format('SELECT replication_plugin.create_group('''', ''a'', %L)', dsn_of(current_database())));
SELECT try(format('SELECT replication_plugin.create_group(''g'', '''', %L)', dsn_of(current_database())));
SELECT try(format('SELECT replication_plugin.create_group(''g'', %L, %L)', repeat('x', 64), dsn_of(current_database())));
SELECT try(format('SELECT replication_plugin.create_group(%L, ''a'', %L)', repeat('x', 64), dsn_of(current_database())));
SELECT try(format('SELECT replication_plugin.create_group(''g'', %L, %L)', E'a\nb', dsn_of(current_database())));
-- another database that has the extension, too
CREATE DATABASE regression_other TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
\c regression_other
SET client_min_messages = warning;
CREATE EXTENSION replication_plugin;
\c regression_errors
\set VERBOSITY terse
SELECT try(format('SELECT replication_plugin.create_group(''g'', ''a'', %L)', dsn_of('regression_other')));
SELECT count(*) FROM replication_plugin.local_node;

--
-- join_group
--
SELECT try('SELECT replication_plugin.join_group(NULL, ''x'', ''y'')');
SELECT try('SELECT replication_plugin.join_group('''', ''x'', ''y'')');
SELECT try('SELECT replication_plugin.join_group(''b'', ''no dsn'', ''y'')');
SELECT try(format('SELECT replication_plugin.join_group(''b'', %L, ''no dsn'')', dsn_of(current_database())));
SELECT try(format('SELECT replication_plugin.join_group(''b'', %L, %L)', dsn_of(current_database()), dsn_of('template1')));
SELECT try(format('SELECT replication_plugin.join_group(''b'', %L, %L)', dsn_of(current_database()), dsn_of('regression_other')));
SELECT try(format('SELECT replication_plugin.join_group(''b'', %L, %L)', dsn_of(current_database()), dsn_of('no_such_database')));
SELECT try(format('SELECT replication_plugin.join_group(''b'', %L, %L)', dsn_of('regression_other'), dsn_of('regression_other')));
-- itself
SELECT try(format('SELECT replication_plugin.join_group(''b'', %1$L, %1$L)', dsn_of(current_database())));

--
-- exclude_table and include_table of what is no table
--
CREATE TABLE ae_table (id int PRIMARY KEY);
CREATE VIEW ae_view AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW ae_matview AS SELECT 1 AS x;
CREATE SEQUENCE ae_sequence;
CREATE TYPE ae_type AS (x int);
CREATE INDEX ae_index ON ae_table (id);
CREATE TEMP TABLE ae_temp (id int PRIMARY KEY);
CREATE UNLOGGED TABLE ae_unlogged (id int PRIMARY KEY);
CREATE TABLE ae_parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE ae_part PARTITION OF ae_parted DEFAULT;
SELECT replication_plugin.exclude_table('ae_view');
SELECT replication_plugin.exclude_table('ae_matview');
SELECT replication_plugin.exclude_table('ae_sequence');
SELECT replication_plugin.exclude_table('ae_type');
SELECT replication_plugin.exclude_table('ae_index');
SELECT replication_plugin.exclude_table('ae_temp');
-- it may become a logged one
SELECT replication_plugin.exclude_table('ae_unlogged');
SELECT replication_plugin.exclude_table('pg_class');
SELECT replication_plugin.exclude_table('information_schema.sql_features');
SELECT replication_plugin.exclude_table('replication_plugin.node');
SELECT replication_plugin.include_table('replication_plugin.tombstone');
SELECT replication_plugin.exclude_table('no_such_table');
SELECT replication_plugin.exclude_table(0);
SELECT replication_plugin.exclude_table(999999::oid);
SELECT replication_plugin.exclude_table(NULL);
SELECT try('SELECT replication_plugin.exclude_table(''ae_part'')');
SELECT try('SELECT replication_plugin.include_table(''ae_view'')');
SELECT * FROM replication_plugin.table_setting;

--
-- in a group
--
SELECT replication_plugin.create_group('the group', 'node a', dsn_of(current_database()));
SELECT replication_plugin.wait_until_ready();
SELECT node_id, node_name, state, is_local, progress, 
	dsn = replication_plugin.dsn_without_password(dsn_of(current_database())) AS my_dsn FROM replication_plugin.nodes;
SELECT replication_plugin.my_id();
SELECT replication_plugin.wait_for_apply('1 second');
-- once is enough
SELECT try(format('SELECT replication_plugin.create_group(''g'', ''b'', %L)', dsn_of(current_database())));
SELECT try(format('SELECT replication_plugin.join_group(''b'', %1$L, %1$L)', dsn_of(current_database())));
SELECT try('SELECT replication_plugin.create_group(''g'', ''b'', ''no dsn'')');
-- itself, and nodes that there are not
SELECT try('SELECT replication_plugin.remove_node(''node a'')');
SELECT try('SELECT replication_plugin.remove_node(''node b'')');
SELECT try('SELECT replication_plugin.remove_node('''')');
SELECT try('SELECT replication_plugin.remove_node(''node b'', lost => true)');
SELECT try('SELECT replication_plugin.remove_node(''node b'', lost => NULL)');
SELECT try('SELECT replication_plugin.rejoin()');
SELECT try('SELECT replication_plugin.set_topology(''circle'')');
SELECT try('SELECT replication_plugin.set_topology(NULL)');
SELECT try('SELECT replication_plugin.set_topology(''star'', ''{node b}'')');
SELECT try('SELECT replication_plugin.set_topology(''star'', ''{}'')');
SELECT try('SELECT replication_plugin.set_topology(''star'', ''{node a,node a}'')');
SELECT try('SELECT replication_plugin.set_topology(''custom'', ''{node a}'')');
SELECT try('SELECT replication_plugin.set_topology(''ring'', ''{node a}'')');
SELECT shape, nodes, links FROM replication_plugin.current_topology();
SELECT try('SELECT replication_plugin.add_link(''node a'', ''node a'')');
SELECT try('SELECT replication_plugin.add_link(''node a'', ''node b'')');
SELECT try('SELECT replication_plugin.drop_link(''node a'', NULL)');
SELECT try('SELECT replication_plugin.topology_graph(''svg'')');
SELECT replication_plugin.topology_graph();
SELECT replication_plugin.topology_graph('dot');
SELECT try('SELECT replication_plugin.prepare_base_backup(''node b'', ''no dsn'')');
SELECT try('SELECT replication_plugin.prepare_base_backup(NULL, ''dbname=b'')');
SELECT try('SELECT replication_plugin.cancel_base_backup(''node b'')');
SELECT try('SELECT replication_plugin.frontier_lsn(''nonsense'', 1)');
SELECT replication_plugin.frontier_lsn('1:0/10:5,2:0/20:-', 2) = '0/20' AS of_2, replication_plugin.frontier_lsn('1:0/10:5,2:0/20:-', 3) AS of_3;
-- links of a topology: to node 1, those from nodes that are down are replaced
SELECT provider, subscriber, reroute, full_origins FROM replication_plugin.topology_plan('ring', '{1,2,3}', '{}', '{1,2,3}', '{0,1,1}', 1, '{}') ORDER BY 1, 2;
SELECT provider, subscriber, reroute, full_origins FROM replication_plugin.topology_plan('ring', '{1,2,3}', '{}', '{1,2,3}', '{0,1,1}', 1, '{3}') ORDER BY 1, 2;
SELECT provider, subscriber, reroute, full_origins FROM replication_plugin.topology_plan('star', '{2}', '{}', '{1,2,3,4}', '{0,1,1,2}', 1, '{2}') ORDER BY 1, 2;
SELECT provider, subscriber, reroute, full_origins FROM replication_plugin.topology_plan('custom', '{}', '{1,2,2,1,2,3,3,2}', '{1,3,4}', '{0,1,3}', 1, '{}') ORDER BY 1, 2;
SELECT replication_plugin.topology_unreachable('custom', '{}', '{1,2,2,1,3,2}', '{1,2,3}', '{0,1,1}');
SELECT try('SELECT replication_plugin.pause_link(''node b'')');
SELECT try('SELECT replication_plugin.resume_link(''node b'')');
SELECT try('SELECT replication_plugin.skip_transaction(''node b'', ''0/1'')');
SELECT try('SELECT replication_plugin.pause_link(''node a'')');
SELECT try('SELECT replication_plugin.resume_link(''node a'')');
SELECT try('SELECT replication_plugin.skip_transaction(''node a'', ''0/1'')');
SELECT count(*) FROM replication_plugin.link;
-- what other nodes are told
SELECT group_id FROM replication_plugin.identity() \gset
SELECT try('SELECT replication_plugin.handshake(''{"group_id": "00000000-0000-0000-0000-000000000001", "node_id": 2, "version": "1.1", "oldest_protocol": 5, "newest_protocol": 5, "run": [1, 1, "0/1", "0/1"]}'')');
SELECT try(format('SELECT replication_plugin.handshake(''{"group_id": "%s", "node_id": 2, "version": "1.1", "oldest_protocol": 5, "newest_protocol": 5, "run": [1, 1, "0/1", "0/1"]}'')', :'group_id'));
SELECT try(format('SELECT replication_plugin.handshake(''{"group_id": "%s", "node_id": 2, "version": "9.8", "oldest_protocol": 98, "newest_protocol": 99, "run": [1, 1, "0/1", "0/1"]}'')', :'group_id'));
SELECT try(format('SELECT * FROM replication_plugin.handshake(%L, 2, 4, 1, 1, ''0/1'', ''0/1'')', :'group_id'));
SELECT try(format('SELECT replication_plugin.reserve_node(%L, 2, ''node a'', ''dbname=b'')', :'group_id'));
SELECT try(format('SELECT replication_plugin.reserve_node(%L, 1, ''node b'', ''dbname=b'')', :'group_id'));
SELECT try('SELECT replication_plugin.reserve_node(''00000000-0000-0000-0000-000000000001'', 2, ''node b'', ''dbname=b'')');
SELECT try(format('SELECT replication_plugin.admit_node(%L, 1, ''node b'', ''dbname=b'')', :'group_id'));
SELECT try('SELECT replication_plugin.admit_node(''00000000-0000-0000-0000-000000000001'', 2, ''node b'', ''dbname=b'')');
-- nothing but superusers may
CREATE ROLE regress_nobody;
SET ROLE regress_nobody;
SELECT replication_plugin.create_group('g', 'b', 'x');
SELECT replication_plugin.join_group('b', 'x', 'y');
SELECT replication_plugin.leave_group();
SELECT replication_plugin.forget_group();
SELECT replication_plugin.remove_node('node a');
SELECT replication_plugin.pause_link('node a');
SELECT replication_plugin.resume_link('node a');
SELECT replication_plugin.skip_transaction('node a', '0/1');
SELECT replication_plugin.exclude_table('ae_table');
SELECT replication_plugin.include_table('ae_table');
SELECT * FROM replication_plugin.preflight();
SELECT * FROM replication_plugin.local_node;
SELECT * FROM replication_plugin.links;
SELECT replication_plugin.remote_query('', 'SELECT 1');
SELECT replication_plugin.loopback('SELECT 1');
SELECT replication_plugin.capture_remove_all();
SELECT count(*) FROM replication_plugin.nodes;
SELECT replication_plugin.wait_for_apply();
RESET ROLE;
DROP ROLE regress_nobody;

--
-- what belongs to a member cannot be dropped
--
SET client_min_messages = warning;
SELECT try('DROP EXTENSION replication_plugin');
SELECT try('DROP EXTENSION replication_plugin CASCADE');
SELECT try('DROP SCHEMA replication_plugin CASCADE');
-- also where no internal trigger needs the extension
SELECT replication_plugin.exclude_table('ae_table'), replication_plugin.exclude_table('ae_parted');
SELECT try('DROP EXTENSION replication_plugin');
SELECT replication_plugin.include_table('ae_table'), replication_plugin.include_table('ae_parted');
RESET client_min_messages;
\c :home
\set VERBOSITY default
DROP DATABASE regression_errors;
DROP DATABASE regression_errors WITH (FORCE);
DROP DATABASE regression_other;
\c regression_errors
\set VERBOSITY terse

--
-- leaving
--
BEGIN;
SELECT replication_plugin.leave_group();
ROLLBACK;
BEGIN;
SELECT replication_plugin.forget_group();
ROLLBACK;
SELECT count(*) FROM replication_plugin.nodes WHERE state = 'ready';
SELECT count(*) > 0 AS has_triggers FROM pg_trigger WHERE tgisinternal AND tgrelid = 'ae_table'::regclass AND tgname ~ '^replication_plugin';
SELECT replication_plugin.leave_group();
SELECT * FROM replication_plugin.nodes;
SELECT replication_plugin.leave_group();
SELECT count(*) AS triggers FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
	WHERE t.tgisinternal AND p.pronamespace = 'replication_plugin'::regnamespace AND p.proname ~ '^capture';
-- and again: another group; and by forget_group()
SELECT replication_plugin.create_group('the group', 'node a', dsn_of(current_database()));
SELECT node_id, node_name, state FROM replication_plugin.nodes;
SELECT replication_plugin.leave_group();
SELECT replication_plugin.create_group('the group', 'node a', dsn_of(current_database()));
SELECT replication_plugin.forget_group();
SELECT * FROM replication_plugin.nodes;
-- a group that is rolled back was never there
BEGIN;
SELECT replication_plugin.create_group('the group', 'node a', dsn_of(current_database()));
ROLLBACK;
SELECT * FROM replication_plugin.nodes;
SELECT count(*) AS triggers FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
	WHERE t.tgisinternal AND p.pronamespace = 'replication_plugin'::regnamespace AND p.proname ~ '^capture';

DROP EXTENSION replication_plugin;
SELECT count(*) AS slots FROM pg_replication_slots;
SELECT count(*) AS origins FROM pg_replication_origin;
-- the manager ends soon
DO $$
BEGIN
	FOR i IN 1..600 LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'replication_plugin%');
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
SELECT backend_type FROM pg_stat_activity WHERE datname IS NOT NULL AND backend_type LIKE 'replication_plugin%';
DROP SCHEMA replication_plugin;

DROP TABLE ae_table, ae_unlogged, ae_parted;
DROP VIEW ae_view;
DROP MATERIALIZED VIEW ae_matview;
DROP SEQUENCE ae_sequence;
DROP TYPE ae_type;
DROP FUNCTION dsn_of, try;
\c :home
DROP DATABASE regression_errors;
