/*
 * code_hook.h
 *		Code of users that changes settings in the middle of a value.
 */
#ifndef REPLICATION_PLUGIN_CODE_HOOK_H
#define REPLICATION_PLUGIN_CODE_HOOK_H

/* From now on, in this process, the settings on which texts of values depend stay pinned between functions of users, whatever these set. */
extern void code_hook_install(void);

#endif							/* REPLICATION_PLUGIN_CODE_HOOK_H */
