/*
 * exclusion.h
 *		The tables that are not replicated, and the reasons: tables table_setting and exclusion,
 *		schemas of other extensions.
 */
#ifndef REPLICATION_PLUGIN_EXCLUSION_H
#define REPLICATION_PLUGIN_EXCLUSION_H

#include "postgres_ext.h"

#define REPACK_SCHEMA	"repack"	/* of pg_repack */

/*
 * Returns why a table with that name in that schema is not replicated, as text for people,
 * palloc'd; NULL if it is. The table need not exist. Works under a historic snapshot.
 */
extern char *exclusion_reason(const char *schema, const char *name);

#endif							/* REPLICATION_PLUGIN_EXCLUSION_H */
