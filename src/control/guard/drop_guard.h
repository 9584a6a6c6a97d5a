/*
 * drop_guard.h
 *		Keeps a member of a group from being dropped without a word.
 */
#ifndef REPLICATION_PLUGIN_DROP_GUARD_H
#define REPLICATION_PLUGIN_DROP_GUARD_H

/* Installs the hooks; from _PG_init only. */
extern void drop_guard_install(void);

#endif							/* REPLICATION_PLUGIN_DROP_GUARD_H */
