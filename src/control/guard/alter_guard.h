/*
 * alter_guard.h
 *		Refuses changes of replicated tables that their bookkeeping would not survive.
 */
#ifndef REPLICATION_PLUGIN_ALTER_GUARD_H
#define REPLICATION_PLUGIN_ALTER_GUARD_H

extern void alter_guard_install(void);

#endif							/* REPLICATION_PLUGIN_ALTER_GUARD_H */
