-- What each command says when it cannot do what it is asked to: SQLSTATE, message and
-- hint. (Needing two servers: test/t/070_membership.pl.)
\set SHOW_CONTEXT never
CREATE DATABASE api_errors;
CREATE DATABASE api_other;
\c api_errors
CREATE EXTENSION replication_plugin;
SELECT format('host=%s port=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')) AS server \gset
\set own '''':server' dbname=api_errors'''
\set other '''':server' dbname=api_other'''

-- Runs a command, tells its error.
CREATE PROCEDURE tell(command text) LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	EXECUTE command;
	RAISE INFO 'done';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	message := regexp_replace(message, 'host=/\S+ port=\d+|/\S+/\.s\.PGSQL\.\d+', '(here)', 'g');
	message := regexp_replace(message, '(?!00000000)[0-9a-f]{8}-[0-9a-f-]{27}', '(uuid)', 'g');
	RAISE INFO '%', concat_ws(E'\n', state || ' ' || message, '  detail: ' || nullif(detail, ''), '  hint: ' || nullif(hint, ''));
END
$$;

-- 1. in no group: everything but create_group() and join_group() says so
CALL tell('SELECT replication_plugin.remove_node(''b'')');
CALL tell('SELECT replication_plugin.pause_link(''b'')');
CALL tell('SELECT replication_plugin.resume_link(''b'')');
CALL tell('SELECT replication_plugin.skip_transaction(''b'', ''0/1'')');
CALL tell('SELECT replication_plugin.wait_until_ready()');
SELECT replication_plugin.leave_group();
SELECT replication_plugin.forget_group();
CALL tell('SELECT * FROM replication_plugin.handshake(''00000000-0000-0000-0000-000000000001'', 2, 1)');
CALL tell('SELECT replication_plugin.reserve_node(''00000000-0000-0000-0000-000000000001'', 2, ''b'', '''')');
CALL tell('SELECT replication_plugin.admit_node(''00000000-0000-0000-0000-000000000001'', 2, ''b'', '''')');
-- nobody has to wait for anybody
SELECT replication_plugin.wait_for_apply();
SELECT group_id, node_id, encoding = getdatabaseencoding() AS encoding FROM replication_plugin.identity();

-- 2. create_group(): arguments, then the dsn
CALL tell('SELECT replication_plugin.create_group(NULL, ''a'', ''dbname=x'')');
CALL tell('SELECT replication_plugin.create_group(''g'', NULL, ''dbname=x'')');
CALL tell('SELECT replication_plugin.create_group(''g'', ''a'', NULL)');
CALL tell('SELECT replication_plugin.create_group(''g'', '''', ''dbname=x'')');
CALL tell('SELECT replication_plugin.create_group('''', ''a'', ''dbname=x'')');
CALL tell(format('SELECT replication_plugin.create_group(''g'', %L, ''dbname=x'')', repeat('n', 64)));
CALL tell('SELECT replication_plugin.create_group(''g'', ''a'', ''this is no dsn'')');
CALL tell('SELECT replication_plugin.create_group(''g'', ''a'', ''dbname=x no_such_option=1'')');
CALL tell('SELECT replication_plugin.create_group(''g'', ''a'', ''host=/nowhere port=1 dbname=x password=secret'')');
CALL tell(format('SELECT replication_plugin.create_group(''g'', ''a'', %L)', :own || '_not'));
-- another database of this server, without the extension and with it
CALL tell(format('SELECT replication_plugin.create_group(''g'', ''a'', %L)', :other));
\c api_other
CREATE EXTENSION replication_plugin;
\c api_errors
CALL tell(format('SELECT replication_plugin.create_group(''g'', ''a'', %L)', :other));

-- 3. join_group()
CALL tell('SELECT replication_plugin.join_group(NULL, ''dbname=x'', ''dbname=y'')');
CALL tell('SELECT replication_plugin.join_group(''b'', ''dbname=x'', ''dbname=y'', copy_data => NULL)');
CALL tell('SELECT replication_plugin.join_group(''b'', ''this is no dsn'', ''dbname=y'')');
CALL tell(format('SELECT replication_plugin.join_group(''b'', %L, %L)', :other, :other));
CALL tell(format('SELECT replication_plugin.join_group(''b'', %L, ''neither is this'')', :own));
CALL tell(format('SELECT replication_plugin.join_group(''b'', %L, ''host=/nowhere port=1 dbname=x'')', :own));
CALL tell(format('SELECT replication_plugin.join_group(''b'', %L, %L)', :own, :other));

-- nothing half-made is left
SELECT count(*) FROM replication_plugin.nodes;
SELECT count(*) FROM pg_replication_slots WHERE database = current_database();
SELECT count(*) FROM pg_replication_origin o, pg_database d WHERE d.datname = current_database() AND o.roname ~ ('^replication_plugin_' || d.oid || '_');
SELECT replication_plugin.manager_pid();

-- 4. in a group
SELECT replication_plugin.create_group('g', 'a', :own);
SELECT node_id, node_name, state, is_local, progress FROM replication_plugin.nodes;
CALL tell(format('SELECT replication_plugin.create_group(''g2'', ''a'', %L)', :own));
CALL tell(format('SELECT replication_plugin.join_group(''b'', %L, %L)', :own, :other));
CALL tell('SELECT replication_plugin.remove_node(NULL)');
CALL tell('SELECT replication_plugin.remove_node(''b'')');
CALL tell('SELECT replication_plugin.remove_node(''a'')');
CALL tell('SELECT replication_plugin.pause_link(NULL)');
CALL tell('SELECT replication_plugin.pause_link(''b'')');
CALL tell('SELECT replication_plugin.pause_link(''a'')');
CALL tell('SELECT replication_plugin.resume_link(NULL)');
CALL tell('SELECT replication_plugin.resume_link(''b'')');
CALL tell('SELECT replication_plugin.skip_transaction(''b'', ''0/1'')');
CALL tell('SELECT replication_plugin.skip_transaction(''a'', NULL)');
CALL tell('SELECT replication_plugin.skip_transaction(''a'', ''0/1'')');
CALL tell('SELECT replication_plugin.skip_transaction(''a'', ''no lsn'')');
SELECT replication_plugin.wait_until_ready();
SELECT replication_plugin.wait_for_apply('1 second');

-- 5. what other nodes are told
SELECT group_id FROM replication_plugin.identity() \gset
CALL tell('SELECT * FROM replication_plugin.handshake(''00000000-0000-0000-0000-000000000001'', 2, 1)');
CALL tell(format('SELECT * FROM replication_plugin.handshake(%L, 2, 1)', :'group_id'));
CALL tell(format('SELECT * FROM replication_plugin.handshake(%L, 2, 99)', :'group_id'));
CALL tell(format('SELECT replication_plugin.reserve_node(%L, 2, ''a'', ''dbname=b'')', :'group_id'));
CALL tell(format('SELECT replication_plugin.reserve_node(%L, 1, ''b'', ''dbname=b'')', :'group_id'));
CALL tell(format('SELECT replication_plugin.admit_node(%L, 1, ''b'', ''dbname=b'')', :'group_id'));

-- 6. dropping says what to call first
DROP EXTENSION replication_plugin;
DROP EXTENSION replication_plugin CASCADE;
DROP SCHEMA replication_plugin CASCADE;
\c regression
DROP DATABASE api_errors;
DROP DATABASE api_errors WITH (FORCE);
\c api_errors

-- 7. leaving: not inside a transaction; then nothing is left
BEGIN;
SELECT replication_plugin.leave_group();
ROLLBACK;
BEGIN;
SELECT replication_plugin.forget_group();
ROLLBACK;
SELECT replication_plugin.leave_group(NULL);
SELECT replication_plugin.leave_group();
SELECT count(*) FROM replication_plugin.nodes;
SELECT count(*) FROM pg_replication_slots WHERE database = current_database();
SELECT count(*) FROM pg_replication_origin o, pg_database d WHERE d.datname = current_database() AND o.roname ~ ('^replication_plugin_' || d.oid || '_');
-- again, and without the node's dsn
SELECT replication_plugin.create_group('g', 'a', :own);
SELECT replication_plugin.forget_group();
SELECT count(*) FROM replication_plugin.nodes;
-- a group that is not committed is none
BEGIN;
SELECT replication_plugin.create_group('g', 'a', :own);
ROLLBACK;
SELECT count(*) FROM replication_plugin.nodes;
SELECT replication_plugin.create_group('g', 'a', :own);
SELECT replication_plugin.leave_group();
DROP EXTENSION replication_plugin;
\c regression
DROP DATABASE api_errors;
DROP DATABASE api_other;
