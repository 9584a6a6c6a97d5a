/*
 * code_hook.h
 *		Code of users that changes settings in the middle of a value.
 */
#ifndef REPLICATION_PLUGIN_CODE_HOOK_H
#define REPLICATION_PLUGIN_CODE_HOOK_H

/*
 * A row session begins, and from now on, in this process, the settings on which texts of values
 * depend stay pinned between functions of users, whatever these set.
 */
extern void code_hook_install(void);

/* The setting that has functions which a superuser's statements call run as who owns them. */
#define CODE_AS_OWNERS	"replication_plugin.code_as_owners"

extern void code_hook_define(void);

/*
 * In the row session at hand functions run as who owns them: rows go into partitions of other
 * owners than the root's. An error ends it.
 */
extern void code_hook_many_owners(bool on);

#endif							/* REPLICATION_PLUGIN_CODE_HOOK_H */
