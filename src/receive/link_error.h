/*
 * link_error.h
 *		What people are told of an error on a link: what, where, and what to do.
 */
#ifndef REPLICATION_PLUGIN_LINK_ERROR_H
#define REPLICATION_PLUGIN_LINK_ERROR_H

#include "receive/link.h"
#include "wire/wire.h"

/*
 * The text for links.last_error of an error in applying. After an abort and apply_reset(), outside
 * of transactions; palloc'd. The row at which it failed is that of apply_failed_row().
 */
extern char *link_error_text(Link *link, const ErrorData *edata, const WireBegin *transaction);

/* Says of an error that it comes of the limit for a row's own code. */
extern void link_error_explain_limit(ErrorData *edata);

/*
 * Raises what a provider says when it ends the stream; res may be NULL. The connection is asked
 * which transaction it was.
 */
extern void link_error_of_provider(Link *link, PGresult *res) pg_attribute_noreturn();

#endif							/* REPLICATION_PLUGIN_LINK_ERROR_H */
