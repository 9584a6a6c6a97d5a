-- What the functions read first.

-- The members and former members, as these tables have them. A node that has moved has its dsn in a group setting (43_node_dsn.sql,
-- catalog/nodes.c).
CREATE VIEW node AS
	SELECT m.node_id, m.node_name, coalesce((SELECT g.value FROM replication_plugin.group_setting g
			WHERE g.name = 'dsn of node ' || m.node_id ORDER BY g.serial DESC, g.set_by DESC LIMIT 1), m.dsn) AS dsn,
		CASE WHEN r.reason IS NOT NULL THEN 'removed' WHEN y.node_id IS NOT NULL THEN 'ready' ELSE 'joining' END AS state,
		m.add_frontier, m.add_fenced, m.source, m.added_at, r.reason
	FROM replication_plugin.member m
	LEFT JOIN replication_plugin.member_ready y ON y.node_id = m.node_id
	LEFT JOIN (SELECT node_id, min(reason) AS reason FROM replication_plugin.removal GROUP BY 1) r ON r.node_id = m.node_id;
COMMENT ON VIEW node IS 'the members and former members';

-- Of each setting the value that counts.
CREATE VIEW group_settings AS
	SELECT d.name, coalesce(s.value, d.allowed[1]) AS value, d.allowed, d.description
	FROM (VALUES
		('keyless_tables', ARRAY['refuse', 'full'], 'new tables without a key: "refuse" their UPDATE and DELETE, or give them REPLICA IDENTITY "full"')
	) d(name, allowed, description)
	LEFT JOIN LATERAL (SELECT g.value FROM replication_plugin.group_setting g WHERE g.name = d.name
		ORDER BY g.serial DESC, g.set_by DESC LIMIT 1) s ON true;
COMMENT ON VIEW group_settings IS 'what is set for the whole group by set_group_setting(), and what it can be; the first allowed value is the default';
