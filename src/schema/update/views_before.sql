-- The views are made anew below; what people granted on them is kept.
CREATE TEMPORARY TABLE granted_on_views AS
	SELECT c.relname, a.grantee::regrole::text AS grantee, a.privilege_type
	FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
	WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind = 'v' AND a.grantee <> 0 AND a.grantee <> c.relowner;
