/*
 * drop_kept.h
 *		A table of which changes are kept is dropped: they are given up.
 */
#ifndef REPLICATION_PLUGIN_DROP_KEPT_H
#define REPLICATION_PLUGIN_DROP_KEPT_H

#include "base/hooks.h"

/* Takes part in the hook for objects (replication_plugin.c). */
extern void drop_kept_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg);

#endif							/* REPLICATION_PLUGIN_DROP_KEPT_H */
