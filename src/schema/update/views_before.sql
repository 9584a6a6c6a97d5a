-- The views are made anew below; what people granted on them is kept.
CREATE TEMPORARY TABLE granted_on_views AS
	SELECT c.relname, a.grantee::regrole::text AS grantee, a.privilege_type
	FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
	WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind = 'v' AND a.grantee <> 0 AND a.grantee <> c.relowner;
-- Functions that take rows of a view go with it, and are made anew below as well.
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'replication_plugin'::regnamespace
		AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.reltype = ANY (p.proargtypes::oid[]) AND c.relkind = 'v')
	LOOP
		EXECUTE pg_catalog.format('DROP FUNCTION %s', f);
	END LOOP;
END
$$;
