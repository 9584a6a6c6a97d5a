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

-- What the members have told of the versions that they have, each by a group setting named after its number (44_versions.sql,
-- catalog/agreement.c); nulls: it has not told anything yet.
CREATE VIEW member_version AS
	SELECT n.node_id, n.node_name, n.state, substring(s.value FROM 'extension=([^ ]+)') AS extension_version,
		substring(s.value FROM 'oldest=([0-9]{1,9})(?![0-9])')::integer AS oldest_protocol, substring(s.value FROM 'newest=([0-9]{1,9})(?![0-9])')::integer AS newest_protocol,
		string_to_array(substring(s.value FROM 'features=([^ ]*)'), ',') AS features
	FROM replication_plugin.node n
	LEFT JOIN LATERAL (SELECT g.value FROM replication_plugin.group_setting g WHERE g.name = 'version of node ' || n.node_id
		ORDER BY g.serial DESC, g.set_by DESC LIMIT 1) s ON true
	WHERE n.state <> 'removed';
COMMENT ON VIEW member_version IS 'the versions of the extension that the members have, the protocols that they speak, and their features';

-- Of each setting the value that counts.
CREATE VIEW group_settings AS
	SELECT d.name, coalesce(s.value, d.allowed[1]) AS value, d.allowed, d.description
	FROM (VALUES
		('keyless_tables', ARRAY['refuse', 'full'], 'new tables without a key: "refuse" their UPDATE and DELETE, or give them REPLICA IDENTITY "full"'),
		('protocol', ARRAY['5'], 'protocol that all members speak, with the features that came with it: finish_upgrade() raises it when all have a newer version')
	) d(name, allowed, description)
	LEFT JOIN LATERAL (SELECT g.value FROM replication_plugin.group_setting g WHERE g.name = d.name
		ORDER BY g.serial DESC, g.set_by DESC LIMIT 1) s ON true;
COMMENT ON VIEW group_settings IS 'what is set for the whole group by set_group_setting(), and what it can be; the first allowed value is the default';
