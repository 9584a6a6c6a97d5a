-- The feature of the pretended next version: writes the new column.
CREATE FUNCTION set_pretended(value text, note text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_feature('pretended');
	INSERT INTO replication_plugin.group_setting (name, serial, set_by, value, note)
		SELECT 'pretended', coalesce(max(g.serial), 0) + 1, replication_plugin.my_id(), $1, $2
		FROM replication_plugin.group_setting g WHERE g.name = 'pretended';
END
$$;
COMMENT ON FUNCTION set_pretended(text, text) IS 'uses the feature of the pretended next version';
