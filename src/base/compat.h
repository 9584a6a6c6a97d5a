/*
 * compat.h
 *		What differs between the supported PostgreSQL versions. This is the only
 *		file that looks at PG_VERSION_NUM.
 */
#ifndef REPLICATION_PLUGIN_COMPAT_H
#define REPLICATION_PLUGIN_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "replication_plugin needs PostgreSQL 15 or newer"
#endif

#endif							/* REPLICATION_PLUGIN_COMPAT_H */
