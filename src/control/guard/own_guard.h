/*
 * own_guard.h
 *		Keeps the extension's own objects as they are while the database is in a group.
 */
#ifndef REPLICATION_PLUGIN_OWN_GUARD_H
#define REPLICATION_PLUGIN_OWN_GUARD_H

extern void own_guard_install(void);

#endif							/* REPLICATION_PLUGIN_OWN_GUARD_H */
