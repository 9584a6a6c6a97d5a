/*
 * rewrite_guard.h
 *		Which commands write the rows of replicated tables anew.
 */
#ifndef REPLICATION_PLUGIN_REWRITE_GUARD_H
#define REPLICATION_PLUGIN_REWRITE_GUARD_H

extern void rewrite_guard_install(void);

#endif							/* REPLICATION_PLUGIN_REWRITE_GUARD_H */
