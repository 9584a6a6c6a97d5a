/*
 * rename_guard.h
 *		Refuses another name for a table of which changes are kept.
 */
#ifndef REPLICATION_PLUGIN_RENAME_GUARD_H
#define REPLICATION_PLUGIN_RENAME_GUARD_H

extern void rename_guard_install(void);

#endif							/* REPLICATION_PLUGIN_RENAME_GUARD_H */
