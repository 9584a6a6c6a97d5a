/*
 * text_array.h
 *		Arrays of texts as parameters of queries, in the text form of text[].
 */
#ifndef REPLICATION_PLUGIN_TEXT_ARRAY_H
#define REPLICATION_PLUGIN_TEXT_ARRAY_H

/*
 * Returns the array, palloc'd. Unlike the output function of arrays, it needs no catalog, and so no
 * transaction.
 */
extern char *text_array(const char *const *values, int n);

#endif							/* REPLICATION_PLUGIN_TEXT_ARRAY_H */
