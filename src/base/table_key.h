/*
 * table_key.h
 *		The schema and name of a table as a key of a hash table (HASH_BLOBS).
 */
#ifndef REPLICATION_PLUGIN_TABLE_KEY_H
#define REPLICATION_PLUGIN_TABLE_KEY_H

/* The bytes after the names are zero. */
typedef struct TableKey
{
	char		schema[NAMEDATALEN];
	char		name[NAMEDATALEN];
} TableKey;

static inline TableKey
table_key(const char *schema, const char *name)
{
	TableKey	key = {{0}};

	strlcpy(key.schema, schema, NAMEDATALEN);
	strlcpy(key.name, name, NAMEDATALEN);
	return key;
}

#endif							/* REPLICATION_PLUGIN_TABLE_KEY_H */
