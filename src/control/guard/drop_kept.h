/*
 * drop_kept.h
 *		Gives up the kept changes of a table that is dropped.
 */
#ifndef REPLICATION_PLUGIN_DROP_KEPT_H
#define REPLICATION_PLUGIN_DROP_KEPT_H

#include "base/hooks.h"

/* Hook function for objects (replication_plugin.c). */
extern void drop_kept_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg);

#endif							/* REPLICATION_PLUGIN_DROP_KEPT_H */
