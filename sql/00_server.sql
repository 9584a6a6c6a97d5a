--
-- Is this server fit for the lessons that follow?
--
-- "make installcheck" runs this file by itself first, and stops here where something is missing: each line says what, and
-- how to mend it. The lessons make a group of three databases of this one server, and leave nothing behind.
--
\set ON_ERROR_STOP on
\set home :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regression_server;
CREATE DATABASE regression_server TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
\c regression_server
SET client_min_messages = warning;
CREATE EXTENSION replication_plugin;

-- How this server reaches a database of its own: by its first socket directory, without a password. Where that does not
-- do: PGOPTIONS="-c regress.dsn=host=localhost" make installcheck.
CREATE FUNCTION dsn_of(db text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s port=%s user=%s dbname=%s', coalesce(current_setting('regress.dsn', true),
		'host=' || split_part(current_setting('unix_socket_directories'), ',', 1)), current_setting('port'), session_user, db)
$$;
-- What a run that was interrupted has left behind.
CREATE VIEW leftover AS SELECT datname FROM pg_database
	WHERE datname IN ('regression_tokyo', 'regression_paris', 'regression_lima', 'regression_errors', 'regression_other',
		'regression_rights', 'regression_tables');
DO $$
DECLARE
	db text;
BEGIN
	FOR db IN SELECT datname FROM leftover LOOP
		BEGIN
			PERFORM replication_plugin.remote_query(dsn_of(db), 'SELECT replication_plugin.forget_group()');
		EXCEPTION WHEN others THEN
			NULL; -- it is in no group
		END;
	END LOOP;
END
$$;
\set echo :ECHO
\set ECHO none
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM leftover \gexec
\set ECHO :echo
DROP ROLE IF EXISTS regress_alice, regress_monitor, regress_nobody;
-- What the course needs beyond what a group of two servers does: nine slots and as many origins, and room to come and go.
CREATE FUNCTION missing() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	needed constant integer := 12;
	free integer;
	used integer;
	limit_name text;
BEGIN
	RETURN QUERY SELECT format('%s is %s: %s', requirement, detail, fix) FROM replication_plugin.preflight() WHERE NOT ok;
	-- the limit of slots is that of origins as well, up to PostgreSQL 17
	FOR limit_name, used IN SELECT 'max_replication_slots', count(*) FROM pg_replication_slots
		UNION ALL SELECT coalesce((SELECT s.name FROM pg_settings s WHERE s.name = 'max_active_replication_origins'), 'max_replication_slots'), count(*)
			FROM pg_replication_origin_status
	LOOP
		free := current_setting(limit_name)::integer - used;
		IF free < needed THEN
			RETURN NEXT format('%1$s is %2$s, of which %3$s are free, and three nodes on one server need %4$s: ALTER SYSTEM SET %1$s = %5$s; restart',
				limit_name, current_setting(limit_name), free, needed, greatest(used + needed, 20));
		END IF;
	END LOOP;
	IF current_setting('max_wal_senders')::integer < 10 THEN
		RETURN NEXT format('max_wal_senders is %s: ALTER SYSTEM SET max_wal_senders = 10; restart', current_setting('max_wal_senders'));
	END IF;
	IF current_setting('max_worker_processes')::integer < 20 THEN
		RETURN NEXT format('max_worker_processes is %s, and three nodes on one server need up to 20: '
			'ALTER SYSTEM SET max_worker_processes = 20; restart', current_setting('max_worker_processes'));
	END IF;
	BEGIN
		PERFORM replication_plugin.remote_query(dsn_of(current_database()), 'SELECT');
	EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
		RETURN NEXT format('this server does not reach itself: %s: set regress.dsn (see %s)', SQLERRM, 'sql/00_server.sql');
	END;
END
$$;
DO $$
DECLARE
	list text := (SELECT string_agg(m, E'\n') FROM missing() m);
BEGIN
	IF list IS NOT NULL THEN
		RAISE EXCEPTION 'this server is not fit for the regression tests' USING DETAIL = list;
	END IF;
END
$$;

\c :home
DROP DATABASE regression_server;
