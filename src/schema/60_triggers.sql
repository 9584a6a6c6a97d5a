-- Triggers of our own tables, and the event trigger that keeps the internal triggers of user tables right.

-- They fire also for rows that arrive from other nodes.
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['local_node', 'member', 'member_ready', 'removal', 'topology_setting', 'link', 'table_setting', 'mergeable_table', 'column_merge', 'node_priority', 'awaited_state', 'group_setting', 'out_of_step', 'exclusion'] LOOP
		EXECUTE format('CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON replication_plugin.%I'
			' FOR EACH ROW EXECUTE FUNCTION replication_plugin.settings_changed()', t);
		EXECUTE format('ALTER TABLE replication_plugin.%I ENABLE ALWAYS TRIGGER changed', t);
	END LOOP;
END
$$;
CREATE TRIGGER stable AFTER INSERT OR UPDATE ON frontier
	FOR EACH ROW EXECUTE FUNCTION raise_stable_point();
ALTER TABLE frontier ENABLE ALWAYS TRIGGER stable;
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['member', 'removal'] LOOP
		EXECUTE format('CREATE TRIGGER stable_before BEFORE INSERT ON replication_plugin.%I'
			' FOR EACH ROW EXECUTE FUNCTION replication_plugin.raise_stable_point()', t);
		EXECUTE format('CREATE TRIGGER stable_after AFTER INSERT OR UPDATE ON replication_plugin.%I'
			' FOR EACH ROW EXECUTE FUNCTION replication_plugin.raise_stable_point()', t);
		EXECUTE format('ALTER TABLE replication_plugin.%I ENABLE ALWAYS TRIGGER stable_before, ENABLE ALWAYS TRIGGER stable_after', t);
	END LOOP;
END
$$;

CREATE EVENT TRIGGER replication_plugin_ddl ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'CREATE INDEX',
				 'ALTER INDEX', 'DROP INDEX', 'CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE SCHEMA', 'CREATE EXTENSION',
				 'ALTER EXTENSION')
	EXECUTE FUNCTION capture_ddl();
ALTER EVENT TRIGGER replication_plugin_ddl ENABLE ALWAYS;
