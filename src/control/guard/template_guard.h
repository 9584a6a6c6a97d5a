/*
 * template_guard.h
 *		Our processes give way where a member's database is copied.
 */
#ifndef REPLICATION_PLUGIN_TEMPLATE_GUARD_H
#define REPLICATION_PLUGIN_TEMPLATE_GUARD_H

extern void template_guard_install(void);

#endif							/* REPLICATION_PLUGIN_TEMPLATE_GUARD_H */
