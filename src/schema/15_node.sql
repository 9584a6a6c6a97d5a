-- What the functions read first.

-- The members and former members, as these tables have them.
CREATE VIEW node AS
	SELECT m.node_id, m.node_name, m.dsn,
		CASE WHEN r.reason IS NOT NULL THEN 'removed' WHEN y.node_id IS NOT NULL THEN 'ready' ELSE 'joining' END AS state,
		m.add_frontier, m.add_fenced, m.source, m.added_at, r.reason
	FROM replication_plugin.member m
	LEFT JOIN replication_plugin.member_ready y ON y.node_id = m.node_id
	LEFT JOIN (SELECT node_id, min(reason) AS reason FROM replication_plugin.removal GROUP BY 1) r ON r.node_id = m.node_id;
COMMENT ON VIEW node IS 'the members and former members';
