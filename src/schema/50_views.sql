-- What people look at.

CREATE VIEW nodes AS
	SELECT n.node_id, n.node_name, replication_plugin.dsn_without_password(n.dsn) AS dsn,
		CASE WHEN l.node_id IS NOT NULL AND n.state <> 'removed' THEN l.state ELSE n.state END AS state,
		l.node_id IS NOT NULL AS is_local,
		CASE WHEN l.last_error IS NOT NULL THEN 'error: ' || l.last_error ELSE l.progress END AS progress
	FROM replication_plugin.node n
	LEFT JOIN replication_plugin.local_node l ON l.node_id = n.node_id
	UNION ALL
	-- joining, and the table of nodes is not here yet
	SELECT l.node_id, l.node_name, replication_plugin.dsn_without_password(l.dsn), l.state, true,
		CASE WHEN l.last_error IS NOT NULL THEN 'error: ' || l.last_error ELSE l.progress END
	FROM replication_plugin.local_node l
	WHERE NOT EXISTS (SELECT FROM replication_plugin.node n WHERE n.node_id = l.node_id);
COMMENT ON VIEW nodes IS 'the members of the group, also former ones';

CREATE VIEW links AS
	SELECT coalesce(n.node_name, 'node ' || s.provider) AS provider, s.state, s.received_lsn, s.applied_lsn,
		CASE WHEN s.provider_lsn IS NOT NULL AND s.applied_lsn IS NOT NULL
			THEN greatest(s.provider_lsn - s.applied_lsn, 0)::bigint END AS lag_bytes,
		CASE WHEN s.state = 'streaming' THEN interval '0'
			-- what was committed there before, is here
			ELSE greatest(clock_timestamp() - greatest(s.last_commit_at, s.caught_up_at), interval '0') END AS lag_time,
		s.transactions, s.rows, s.last_error, s.last_error_at, s.restarts,
		CASE WHEN s.blocked_on IS NOT NULL THEN coalesce(b.node_name, s.blocked_on::text) || ' ' || s.blocked_lsn END AS waits_for,
		s.blocked_since
	FROM replication_plugin.link_states() s
	LEFT JOIN replication_plugin.node n ON n.node_id = s.provider
	LEFT JOIN replication_plugin.node b ON b.node_id = s.blocked_on;
COMMENT ON VIEW links IS 'the links on which this node takes changes';

CREATE VIEW slots AS
	SELECT n.node_name AS subscriber, s.slot_name, s.active,
		(pg_current_wal_lsn() - s.restart_lsn)::bigint AS retained_bytes, s.confirmed_flush_lsn AS confirmed_lsn
	FROM replication_plugin.node n
	JOIN pg_replication_slots s ON s.slot_name = replication_plugin.slot_name(n.node_id);
COMMENT ON VIEW slots IS 'what this node keeps for its subscribers';

CREATE VIEW progress AS
	SELECT n.node_name AS origin, replication_plugin.origin_progress(n.node_id) AS lsn,
		s.last_commit_at AS commit_timestamp
	FROM replication_plugin.node n
	JOIN pg_replication_origin o ON o.roname = replication_plugin.origin_name(n.node_id::text)
	LEFT JOIN replication_plugin.link_states() s ON s.provider = n.node_id;
COMMENT ON VIEW progress IS 'how far the transactions of each node have been applied here';

CREATE VIEW tables AS
	SELECT c.oid::regclass AS "table", coalesce(s.replicated, true) AS replicated, i.identity,
		'last_write_wins'::text AS policy,
		CASE WHEN NOT coalesce(s.replicated, true) THEN 'excluded by exclude_table()'
			 WHEN i.identity = 'none' THEN 'rows have no key: UPDATE and DELETE are refused; add a primary key, set REPLICA IDENTITY FULL, or exclude the table'
			 WHEN i.identity = 'full' THEN 'rows have no key: conflicts cannot be resolved, rows that were changed on two nodes at once may differ' END AS note
	FROM pg_class c
	JOIN pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN replication_plugin.table_setting s ON s.schema_name = n.nspname AND s.table_name = c.relname,
	LATERAL (SELECT coalesce((SELECT 'key (' || string_agg(a.attname, ', ' ORDER BY k.place) || ')'
			FROM pg_index x, unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY k(attnum, place), pg_attribute a
			WHERE x.indexrelid = (SELECT y.indexrelid FROM pg_index y
					WHERE y.indrelid = c.oid AND y.indisvalid AND y.indimmediate AND (y.indisreplident AND c.relreplident = 'i' OR y.indisprimary)
					ORDER BY (y.indisreplident AND c.relreplident = 'i') DESC LIMIT 1)
				AND a.attrelid = c.oid AND a.attnum = k.attnum),
			CASE c.relreplident WHEN 'f' THEN 'full' ELSE 'none' END) AS identity) i
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND c.oid >= 16384
		AND n.nspname NOT IN ('replication_plugin', 'information_schema') AND n.nspname !~ '^pg_';
COMMENT ON VIEW tables IS 'the tables of this database: whether and how they are replicated';

-- Whether the reader of a view may see rows of a table: he has SELECT, and no row security hides any from him.
CREATE FUNCTION may_read(relid oid) RETURNS boolean LANGUAGE plpgsql STABLE
AS $$
BEGIN
	RETURN CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = relid)
		THEN has_table_privilege(relid, 'SELECT') AND NOT row_security_active(relid)
		ELSE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) END;
END
$$;
COMMENT ON FUNCTION may_read(oid) IS 'whether the caller may see all rows of a table';

CREATE VIEW conflicts WITH (security_barrier) AS
	SELECT c.detected_at, c.table_name, c.conflict_type, c.resolution, c.row_key, c.local_row,
		coalesce(l.node_name, c.local_origin::text) AS local_origin, c.local_timestamp,
		c.remote_row, coalesce(r.node_name, c.remote_origin::text) AS remote_origin, c.remote_timestamp, c.detail
	FROM replication_plugin.conflict_log c
	LEFT JOIN replication_plugin.node l ON l.node_id = c.local_origin
	LEFT JOIN replication_plugin.node r ON r.node_id = c.remote_origin
	WHERE replication_plugin.may_read(c.relid);
COMMENT ON VIEW conflicts IS 'writes that lost, or replaced a concurrent one; rows of tables that the reader may read';

CREATE VIEW conflict_stats AS
	SELECT c.table_name, c.conflict_type, c.resolution, sum(c.n)::bigint AS count, max(c.last_at) AS last_at
	FROM replication_plugin.conflict_count c
	GROUP BY 1, 2, 3;
COMMENT ON VIEW conflict_stats IS 'how many conflicts there were, by table, type and resolution';
