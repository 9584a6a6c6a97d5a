/*
 * insertion_guard.h
 *		Keeps functions that are called for an index from writing in INSERT ... ON CONFLICT.
 */
#ifndef REPLICATION_PLUGIN_INSERTION_GUARD_H
#define REPLICATION_PLUGIN_INSERTION_GUARD_H

extern void insertion_guard_install(void);

#endif							/* REPLICATION_PLUGIN_INSERTION_GUARD_H */
