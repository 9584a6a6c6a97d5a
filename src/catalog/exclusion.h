/*
 * exclusion.h
 *		Which tables are not replicated, and why: tables table_setting and exclusion, schemas of
 *		other extensions.
 */
#ifndef REPLICATION_PLUGIN_EXCLUSION_H
#define REPLICATION_PLUGIN_EXCLUSION_H

#include "postgres_ext.h"

#define REPACK_SCHEMA	"repack"	/* of pg_repack */

/*
 * Why a table of that name in that schema is not replicated, in words for people; NULL if it is.
 * There need not be such a table. Works under a historic snapshot. palloc'd.
 */
extern char *exclusion_reason(const char *schema, const char *name);

#endif							/* REPLICATION_PLUGIN_EXCLUSION_H */
