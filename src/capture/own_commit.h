/*
 * own_commit.h
 *		The last commit of this session that other nodes get: as a token, and as a setting that
 *		clients are told of.
 */
#ifndef REPLICATION_PLUGIN_OWN_COMMIT_H
#define REPLICATION_PLUGIN_OWN_COMMIT_H

#include "nodes/pg_list.h"
#include "utils/guc.h"

#include "base/hooks.h"
#include "model/token.h"

/*
 * Writes the token of the last commit of this session that wrote replicated rows into a buffer of
 * TOKEN_TEXT_SIZE bytes. Returns false if there was none.
 */
extern bool own_commit_token(char *text);

/* Hook functions, which note the tables that the transaction writes. */
extern void own_commit_perms(List *range_table, List *permissions);
extern void own_commit_object(ObjectAccessType access, Oid class, Oid object, int subid, void *arg);
extern void own_commit_command(const UtilityCommand *command);

/* Notes that the transaction writes a message that other nodes get, beside or without rows. */
extern void own_commit_note_message(void);

/*
 * Defines replication_plugin.token. The function is called whenever the setting is shown, first of
 * all when a session begins, before its client can send anything.
 */
extern void own_commit_define_setting(void (*shown) (void));

/*
 * Registers for the end of transactions. Called after commit_stamp_install(), as callbacks are called
 * in reverse order: commit_stamp sets an origin.
 */
extern void own_commit_install(void);

#endif							/* REPLICATION_PLUGIN_OWN_COMMIT_H */
