--
-- What a node tells: the views, and what their columns say.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT c.relname AS view, obj_description(c.oid, 'pg_class') AS comment FROM pg_class c
	WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind = 'v' ORDER BY c.relname COLLATE "C";
SELECT c.relname AS view, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind = 'v' AND c.relname <> 'node' AND a.attnum > 0
	ORDER BY c.relname COLLATE "C", a.attnum;

CALL wait_until_everywhere('SELECT links_stand(6)', 't');
SELECT on_all_nodes('CREATE TABLE remark (id int PRIMARY KEY, v text)');
INSERT INTO remark VALUES (1, 'x');
SELECT replication_plugin.wait_for_apply();

-- nodes: who is or was in the group. clock_offset: by how much the other one's clock is ahead; these have the same clock.
SELECT node_id, node_name, state, is_local, progress, clock_offset BETWEEN '-1 s' AND '1 s' AS same_clock
	FROM replication_plugin.nodes WHERE state = 'ready' ORDER BY node_id;
-- a dsn is shown without its secrets
SELECT replication_plugin.dsn_without_password('host=a user=b password=c dbname=d');

-- links: from whom this node takes changes. After a write, and after it has arrived:
\c regression_paris
UPDATE remark SET v = 'y';
SELECT replication_plugin.wait_for_apply();
\c regression_tokyo
CALL wait_until($$EXISTS (SELECT FROM replication_plugin.links WHERE provider = 'paris' AND state = 'streaming' AND waits_for IS NULL)$$);
SELECT provider, applied_lsn <= received_lsn AS orderly, transactions > 0 AND rows > 0 AS counts, full_origins, kind
	FROM replication_plugin.links WHERE provider = 'paris';

-- slots: what this node keeps for its subscribers; the one without a subscriber keeps what any member may lack
SELECT coalesce(subscriber, '(group slot)') AS subscriber, active, retained_bytes > 0 AS keeps FROM replication_plugin.slots ORDER BY 1;

-- topology: all links of the group, as their subscribers last said; progress: how far everybody's transactions are applied here
CALL wait_until_everywhere('SELECT links_stand(6)', 't');
SELECT provider, subscriber, full_origins, kind, reported_at > now() - interval '10 minutes' AS fresh FROM replication_plugin.topology ORDER BY 1, 2;
SELECT p.origin, p.lsn IS NOT NULL AS applied FROM replication_plugin.progress p JOIN replication_plugin.nodes n ON n.node_name = p.origin
	WHERE n.state = 'ready' ORDER BY 1;

-- tables: which are replicated, by which key, and what becomes of concurrent writes
CREATE TABLE keyless (v text);
CREATE TABLE whole_row (v text);
ALTER TABLE whole_row REPLICA IDENTITY FULL;
CREATE TABLE two_keys (a int, b int, c int PRIMARY KEY, UNIQUE (b, a));
SELECT "table", replicated, identity, policy, merges, note FROM replication_plugin.tables
	WHERE "table"::text IN ('keyless', 'whole_row', 'two_keys', 'remark') ORDER BY "table"::text COLLATE "C";
-- preflight() would have a key for each, and looks at the others' clocks
SELECT requirement, ok, detail, fix FROM replication_plugin.preflight() WHERE requirement = 'tables have keys';
SELECT requirement, ok FROM replication_plugin.preflight() WHERE requirement ~ '^clock' ORDER BY 1;
DROP TABLE keyless, whole_row, two_keys;

-- conflict_stats: how many conflicts there were; conflicts: both rows of each, as long as there are not too many a second
SELECT hold();
UPDATE remark SET v = 'tokyo';
\c regression_paris
UPDATE remark SET v = 'paris';
SELECT release();
\c regression_tokyo
SELECT table_name, conflict_type, resolution, count, last_at IS NOT NULL AS dated, not_logged FROM replication_plugin.conflict_stats
	WHERE table_name = 'public.remark';
SELECT table_name, conflict_type, resolution, row_key, local_row, local_origin, remote_row, remote_origin,
	local_timestamp < remote_timestamp AS remote_is_newer, concurrent, policy, detail FROM replication_plugin.conflicts WHERE table_name = 'public.remark';
SELECT on_all_nodes('DROP TABLE remark');
