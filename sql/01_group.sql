--
-- A group of three nodes: tokyo makes it, paris and lima join. The nodes of the lessons are three databases of one server;
-- nothing would be different with three servers.
--
\set SHOW_CONTEXT never
CREATE DATABASE regression_tokyo TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
CREATE DATABASE regression_paris TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
CREATE DATABASE regression_lima TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
ALTER DATABASE regression_tokyo SET lc_messages = 'C';
ALTER DATABASE regression_paris SET lc_messages = 'C';
ALTER DATABASE regression_lima SET lc_messages = 'C';

--
-- tokyo, the first: a database like any other, with a table that has rows
--
\c regression_tokyo
CREATE TABLE city (name text PRIMARY KEY, mayor text);
INSERT INTO city VALUES ('tokyo', 'Koike'), ('paris', 'Hidalgo'), ('lima', 'Munoz');

CREATE EXTENSION replication_plugin;
-- what a server lacks, and the remedy: nothing here
SELECT requirement, detail, fix FROM replication_plugin.preflight() WHERE NOT ok;

-- The dsn is how the other nodes reach this database.
CREATE FUNCTION dsn_of(db text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s port=%s user=%s dbname=%s', coalesce(current_setting('regress.dsn', true),
		'host=' || split_part(current_setting('unix_socket_directories'), ',', 1)), current_setting('port'), session_user, db)
$$;
SELECT replication_plugin.create_group('shop', node_name => 'tokyo', dsn => dsn_of('regression_tokyo'));
SELECT replication_plugin.wait_until_ready();
SELECT node_id, node_name, state, is_local FROM replication_plugin.nodes;
-- a group of one has no links, and takes writes
SELECT * FROM replication_plugin.links;
INSERT INTO city VALUES ('kyoto', 'Kadokawa');

--
-- What the lessons use besides the product's own functions. All nodes get it, as they get the whole schema.
--
-- Runs a query on all ready nodes, and shows each row of the result, with the nodes that have the same result.
CREATE FUNCTION everywhere(query text) RETURNS TABLE (nodes text, "row" text) LANGUAGE plpgsql AS $$
DECLARE
	n record;
	results jsonb := '[]'; -- of objects: nodes, rows
	got jsonb;
	i integer;
BEGIN
	FOR n IN SELECT * FROM replication_plugin.node WHERE state = 'ready' ORDER BY node_id LOOP
		SELECT coalesce(jsonb_agg(array_to_string(r, ' | ', '')), '[]') INTO got 
			FROM replication_plugin.remote_query(n.dsn, query, before => 'SET search_path = public; SET DateStyle = ISO; SET TimeZone = UTC') r;
		SELECT min(place)::integer - 1 INTO i FROM jsonb_array_elements(results) WITH ORDINALITY e(x, place) WHERE x -> 'rows' = got;
		IF i IS NULL THEN
			results := results || jsonb_build_object('nodes', n.node_name, 'rows', got);
		ELSE
			results := jsonb_set(results, ARRAY[i::text, 'nodes'], to_jsonb(results -> i ->> 'nodes' || ', ' || n.node_name));
		END IF;
	END LOOP;
	RETURN QUERY SELECT e ->> 'nodes', r FROM jsonb_array_elements(results) e
		LEFT JOIN LATERAL jsonb_array_elements_text(e -> 'rows') r ON true;
END
$$;
-- Runs a statement on all ready nodes: for what is not replicated, like CREATE TABLE.
CREATE FUNCTION on_all_nodes(statement text) RETURNS void LANGUAGE sql AS $$
	SELECT replication_plugin.remote_query(n.dsn, statement, before => 'SET search_path = public')
	FROM replication_plugin.node n WHERE n.state = 'ready' ORDER BY n.node_id
$$;
-- Waits until a condition holds; an error if it does not in three minutes.
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + interval '3 minutes';
	holds boolean;
BEGIN
	LOOP
		EXECUTE 'SELECT ' || condition INTO holds;
		EXIT WHEN holds;
		IF clock_timestamp() > deadline THEN
			RAISE EXCEPTION 'not within three minutes: %', condition;
		END IF;
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.02);
		COMMIT;
	END LOOP;
END
$$;
-- Waits until a query has this result, one value, on all nodes.
CREATE PROCEDURE wait_until_everywhere(query text, result text) LANGUAGE plpgsql AS $$
BEGIN
	CALL public.wait_until(format('(SELECT bool_and("row" IS NOT DISTINCT FROM %L) FROM public.everywhere(%L))', result, query));
END
$$;
-- Whether the links stand that the topology wants, so many in the whole group, and no others, as the view topology has it here: each
-- node gets what each other one writes by one of them.
CREATE FUNCTION links_stand(links integer) RETURNS boolean LANGUAGE sql AS $$
	WITH t AS MATERIALIZED (SELECT * FROM replication_plugin.topology)
	SELECT count(*) = links AND bool_and(kind = 'topology' AND state IN ('streaming', 'catching up', 'blocked'))
		AND (SELECT bool_and(o.n = (SELECT count(*) - 1 FROM replication_plugin.nodes WHERE state = 'ready'))
			FROM (SELECT count(*) AS n FROM t, unnest(t.full_origins) GROUP BY t.subscriber) o)
	FROM t
$$;
-- No node takes anything from another one until release(): so what is written meanwhile is concurrent.
CREATE FUNCTION hold() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n record;
BEGIN
	FOR n IN SELECT * FROM replication_plugin.node WHERE state = 'ready' ORDER BY node_id LOOP
		PERFORM replication_plugin.remote_query(n.dsn, $q$SELECT replication_plugin.pause_link(node_name)
			FROM replication_plugin.nodes WHERE state = 'ready' AND NOT is_local$q$);
		PERFORM replication_plugin.remote_query(n.dsn, $q$CALL public.wait_until('count(*) = (SELECT count(*)
			FROM replication_plugin.nodes WHERE state = ''ready'' AND NOT is_local) FROM replication_plugin.links WHERE state = ''paused''')$q$);
	END LOOP;
END
$$;
-- All nodes go on, and wait until everybody has everything.
CREATE FUNCTION release() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n record;
BEGIN
	FOR n IN SELECT * FROM replication_plugin.node WHERE state = 'ready' ORDER BY node_id LOOP
		PERFORM replication_plugin.remote_query(n.dsn, $q$SELECT replication_plugin.resume_link(node_name)
			FROM replication_plugin.nodes WHERE state = 'ready' AND NOT is_local$q$);
	END LOOP;
	FOR n IN SELECT * FROM replication_plugin.node WHERE state = 'ready' ORDER BY node_id LOOP
		PERFORM replication_plugin.remote_query(n.dsn, 'SELECT 1 / replication_plugin.wait_for_apply()::integer');
	END LOOP;
END
$$;

--
-- paris joins: an empty database with the extension. It is told where it is reached, and where any member is.
--
SELECT dsn_of('regression_tokyo') AS tokyo, dsn_of('regression_paris') AS paris, dsn_of('regression_lima') AS lima \gset
\c regression_paris
CREATE EXTENSION replication_plugin;
SELECT replication_plugin.join_group('paris', :'paris', via => :'tokyo');
SET client_min_messages = warning; -- progress comes as notices
SELECT replication_plugin.wait_until_ready();
RESET client_min_messages;
SELECT * FROM city ORDER BY name;
-- from now on both take writes
INSERT INTO city VALUES ('lyon', 'Doucet');
UPDATE city SET mayor = 'Gregoire' WHERE name = 'paris';
SELECT replication_plugin.wait_for_apply();
\c regression_tokyo
SELECT * FROM city ORDER BY name;
DELETE FROM city WHERE name = 'kyoto';
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM city ORDER BY name');

--
-- lima joins, through paris: any ready member will do
--
\c regression_lima
CREATE EXTENSION replication_plugin;
CREATE TABLE city (name text PRIMARY KEY, mayor text);
INSERT INTO city VALUES ('lima', 'Lopez');
-- what is in the database already would meet what comes
SELECT replication_plugin.join_group('lima', :'lima', via => :'paris');
SELECT replication_plugin.join_group('lima', :'lima', via => :'paris', copy_schema => false);
DROP TABLE city;
SELECT replication_plugin.join_group('lima', :'lima', via => :'paris');
SET client_min_messages = warning;
SELECT replication_plugin.wait_until_ready();
RESET client_min_messages;
SELECT * FROM city ORDER BY name;
UPDATE city SET mayor = 'Reggiardo' WHERE name = 'lima';
SELECT replication_plugin.wait_for_apply();
\c regression_tokyo
SELECT * FROM everywhere('SELECT * FROM city ORDER BY name');
-- the members, the same for all; each has a link from each other one
CALL wait_until_everywhere('SELECT links_stand(6)', 't');
SELECT * FROM everywhere('SELECT node_id, node_name, state FROM replication_plugin.nodes ORDER BY 1');
SELECT * FROM everywhere('SELECT provider, kind FROM replication_plugin.links ORDER BY 1');
