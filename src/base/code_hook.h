/*
 * code_hook.h
 *		Protects settings, and the rights of superusers, from code of users.
 */
#ifndef REPLICATION_PLUGIN_CODE_HOOK_H
#define REPLICATION_PLUGIN_CODE_HOOK_H

/*
 * Called when a row session begins. From then on, in this process, the settings on which the text
 * form of values depends stay pinned between functions of users, whatever these set.
 */
extern void code_hook_install(void);

/* The setting by which functions that a superuser's statements call run as their owner. */
#define CODE_AS_OWNERS	"replication_plugin.code_as_owners"

extern void code_hook_define(void);

/*
 * Makes functions run as their owner in the current row session, whose rows go into partitions of
 * other owners than the root's. An error turns it off.
 */
extern void code_hook_many_owners(bool on);

#endif							/* REPLICATION_PLUGIN_CODE_HOOK_H */
