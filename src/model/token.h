/*
 * token.h
 *		A token: what a client has written or read, as positions of origins, so that a node can
 *		tell whether it has all of it.
 *
 * Text form: "1.<group>.<entry>...<entry>.<check>", for example
 * "1.C0FFEE00C0FFEE00C0FFEE00C0FFEE00.2-16B3748-5.3-1A0.8F3A90C1". The first number is the version of
 * the form. The group is its UUID in hexadecimal digits. An entry is a node, the origin LSN of a
 * commit of it in hexadecimal digits, and the run of the node's server in which it was committed, if
 * that is known. The last part is a CRC-32C of what precedes it, so that a token that was cut is
 * refused, and not taken for an earlier one. It is no seal: who makes a token up only makes itself
 * wait.
 */
#ifndef REPLICATION_PLUGIN_TOKEN_H
#define REPLICATION_PLUGIN_TOKEN_H

#include "model/version.h"

/*
 * The position of a commit among those of its origin. An origin LSN is the position in the WAL of
 * the origin's server, plus 2^52 for each time that another server has taken the node's place. So
 * far none can, and the two are equal; but origin LSNs are what nodes and clients compare.
 */
typedef struct OriginLsn
{
	uint64		value;
} OriginLsn;

#define TOKEN_GROUP_BYTES	16
#define TOKEN_MAX_ENTRIES	64

/* Enough for the text form of any token, with the final null byte. */
#define TOKEN_TEXT_SIZE		(2 + 2 * TOKEN_GROUP_BYTES + TOKEN_MAX_ENTRIES * 50 + 1 + 8 + 1)

typedef struct TokenEntry
{
	NodeId		node;
	OriginLsn	lsn;
	int64		run;			/* number of the run of the node's server; 0 if unknown */
} TokenEntry;

typedef struct Token
{
	uint8		group[TOKEN_GROUP_BYTES];
	int			n;
	TokenEntry	entries[TOKEN_MAX_ENTRIES]; /* sorted by node, then run */
} Token;

typedef enum TokenProblem
{
	TOKEN_VALID,
	TOKEN_MALFORMED,
	TOKEN_NEWER					/* of a form that this version does not know */
} TokenProblem;

/* Writes the text form into a buffer of TOKEN_TEXT_SIZE bytes. Allocates nothing. */
extern void token_to_text(const Token *token, char *text);

/* Reads the text form. The token is filled only if it is valid. */
extern TokenProblem token_from_text(const char *text, Token *token);

#endif							/* REPLICATION_PLUGIN_TOKEN_H */
