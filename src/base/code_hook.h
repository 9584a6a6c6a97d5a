/*
 * code_hook.h
 *		Protects settings, and the rights of superusers, from code of users.
 */
#ifndef REPLICATION_PLUGIN_CODE_HOOK_H
#define REPLICATION_PLUGIN_CODE_HOOK_H

/*
 * Called from _PG_init only, so that hooks of other extensions never have state of functions that
 * were called before. Also defines the setting CODE_AS_OWNERS.
 */
extern void code_hook_install(void);

/*
 * Called when a row session begins, or where code of users runs as its owner. A worker then releases
 * the session locks of that code when the transaction ends.
 */
extern void code_hook_note_use(void);

/* The setting by which functions that a superuser's statements call run as their owner. */
#define CODE_AS_OWNERS	"replication_plugin.code_as_owners"

/*
 * Makes functions run as their owner in the current row session, whose rows go into partitions of
 * other owners than the root's. An error turns it off.
 */
extern void code_hook_many_owners(bool on);

#endif							/* REPLICATION_PLUGIN_CODE_HOOK_H */
