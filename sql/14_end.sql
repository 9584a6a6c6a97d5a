--
-- The end: all leave, one after the other. The last one takes the group with it.
--
\set SHOW_CONTEXT never
\set home :DBNAME
\c regression_paris
-- not while it is a member
DROP DATABASE regression_lima;
DROP EXTENSION replication_plugin CASCADE;
SELECT replication_plugin.leave_group();
\c regression_lima
SELECT node_name, state FROM replication_plugin.nodes WHERE state = 'ready' ORDER BY 1;
INSERT INTO city VALUES ('cusco', 'Boluarte');
SELECT replication_plugin.leave_group();
\c regression_tokyo
SELECT node_name, state FROM replication_plugin.nodes WHERE state = 'ready' ORDER BY 1;
SELECT * FROM city ORDER BY name;
SELECT replication_plugin.leave_group();
SELECT count(*) FROM replication_plugin.nodes;
DROP EXTENSION replication_plugin;
SELECT * FROM city ORDER BY name;
\c :home
-- their processes end soon
DO $$
BEGIN
	FOR i IN 1..1800 LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname ~ '^regression_(tokyo|paris|lima)$');
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
DROP DATABASE regression_tokyo;
DROP DATABASE regression_paris;
DROP DATABASE regression_lima;
