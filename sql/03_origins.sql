--
-- Each transaction keeps its origin, the node on which it was made, and its time, on every node and over every hop. So
-- nothing is applied twice, and nothing goes round in circles, in whatever topology.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT on_all_nodes('CREATE TABLE letter (id int PRIMARY KEY, words text)');
-- Where a row was written last, as PostgreSQL's commit timestamps have it here.
SELECT on_all_nodes($$ CREATE FUNCTION written_on(writer xid) RETURNS text LANGUAGE sql AS $f$
	SELECT coalesce((SELECT n.node_name FROM pg_xact_commit_timestamp_origin(writer) o JOIN pg_replication_origin r ON r.roident = o.roident
		JOIN replication_plugin.nodes n ON r.roname = replication_plugin.origin_name(n.node_id::text)), 'here') $f$ $$);
-- Counts each change that is made here, by whomever.
SELECT on_all_nodes('CREATE TABLE heard (letter int, n int, PRIMARY KEY (letter))');
SELECT replication_plugin.exclude_table('heard');
CALL wait_until_everywhere('SELECT replicated FROM replication_plugin.tables WHERE "table" = ''heard''::regclass', 'f');
SELECT on_all_nodes($$ CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $f$
	BEGIN INSERT INTO public.heard VALUES (NEW.id, 1) ON CONFLICT (letter) DO UPDATE SET n = heard.n + 1; RETURN NULL; END $f$;
	CREATE TRIGGER hear AFTER INSERT OR UPDATE ON letter FOR EACH ROW EXECUTE FUNCTION hear();
	ALTER TABLE letter ENABLE ALWAYS TRIGGER hear $$);

INSERT INTO letter VALUES (1, 'from tokyo');
SELECT replication_plugin.wait_for_apply();
\c regression_paris
INSERT INTO letter VALUES (2, 'from paris');
SELECT replication_plugin.wait_for_apply();
\c regression_lima
INSERT INTO letter VALUES (3, 'from lima');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT id, words, written_on(xmin) FROM letter ORDER BY id');
SELECT * FROM everywhere('SELECT letter, n FROM heard ORDER BY letter');
-- the time of the commit is the same everywhere
SELECT count(DISTINCT "row") AS times FROM everywhere('SELECT string_agg(extract(epoch FROM pg_xact_commit_timestamp(xmin))::text, '' '' ORDER BY id) FROM letter');

--
-- A ring: tokyo's writes reach lima by way of paris, still as tokyo's; they stop where they began.
--
SELECT replication_plugin.set_topology('ring', nodes => '{tokyo,paris,lima}');
CALL wait_until_everywhere('SELECT links_stand(3)', 't');
SELECT provider, subscriber, full_origins FROM replication_plugin.topology ORDER BY provider;
\c regression_tokyo
INSERT INTO letter VALUES (4, 'from tokyo');
UPDATE letter SET words = 'from tokyo, too' WHERE id = 3;
SELECT replication_plugin.wait_for_apply();
\c regression_paris
UPDATE letter SET words = 'from paris, the long way round' WHERE id = 1;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT id, words, written_on(xmin) FROM letter ORDER BY id');
SELECT * FROM everywhere('SELECT letter, n FROM heard ORDER BY letter');

-- Whoever reads the changes of a node is told where each was made: of lima's, here.
\c regression_lima
SELECT slot_name FROM pg_create_logical_replication_slot('regression_origins', 'replication_plugin');
\c regression_tokyo
INSERT INTO letter VALUES (5, 'from tokyo');
SELECT replication_plugin.wait_for_apply();
\c regression_lima
INSERT INTO letter VALUES (6, 'from lima');
SELECT d ->> 'action' AS action, d ->> 'origin_node' AS origin, d -> 'columns' -> 1 ->> 'value' AS words
	FROM pg_logical_slot_get_changes('regression_origins', NULL, NULL, 'format', 'json', 'include-tables', 'public.letter') g, jsonb(g.data) d;
SELECT pg_drop_replication_slot('regression_origins');

-- How far everybody's transactions are applied, on each node
SELECT * FROM everywhere('SELECT origin, lsn > ''0/0'' FROM replication_plugin.progress ORDER BY 1');

SELECT replication_plugin.set_topology('all_to_all');
CALL wait_until_everywhere('SELECT links_stand(6)', 't');
SELECT on_all_nodes('DROP TABLE letter, heard; DROP FUNCTION hear, written_on');
