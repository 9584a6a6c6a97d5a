/*
 * write_guard.h
 *		Keeps local writes away from replicated tables of a node that is not ready.
 */
#ifndef REPLICATION_PLUGIN_WRITE_GUARD_H
#define REPLICATION_PLUGIN_WRITE_GUARD_H

/* From _PG_init only. */
extern void write_guard_install(void);

#endif							/* REPLICATION_PLUGIN_WRITE_GUARD_H */
