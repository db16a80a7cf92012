"""Minute bars to a trustworthy daily factor.

The modules of this folder hold facts and operations that every room shares. Begin at `schema`.

    schema              tables, keys, columns, and the names of the 32 features
    portfolio_tables    tables of the risk model, the decisions and the books
    table               what a table of the lake is
    errors              error classes; each message says what is wrong, what was done, what to do
    exchange_facts      what no calendar knows of an exchange (`exchanges/*.toml`, `FPM_MARKETS`)
    markets             the grids of an exchange's bars
    price_limits        how far a price may lie from the reference of its session, by board
    reference_prices    the last close on a session's own basis, where the vendor delivers none
    running_session     the minute at which a session that still trades is read
    sessions            markets, trading sessions, minute grids, cut-offs
    trading_calendars   sessions and hours of an exchange, as the calendar library has them
    calendar_overrides  sessions that an exchange announced after the calendar library was made
    first_copies        from when the first copy of a session is known
    symbols             one canonical symbol for every spelling of a code
    identities          who a symbol is: one company through renames, two companies of one ticker apart
    universe            which symbols a session should have, and whether a list shrank
    feature_schema      the features that a model reads beside those that a home has
    retention           how many sessions of a table stay, and what still needs an older one
    two_clocks          the row that answers "the value at t, as known at k"
    model_file          what a team chooses for encoder, scorer, label and folds (`FPM_MODEL`)
    looks               looks at a market's figures that a home does not know of (`FPM_LOOKS`)
    walk_forward        folds with purge and embargo, as data
    cross_section       winsorising, z-scores, ranks and correlations across the symbols of a session
    row_order           rows in the order of their keys, and their runs
    panels              long frames as dense panels of sessions by symbols
    data_contract       what readers of the online store may rely on, in a standard form
    environment         versions and processor that numbers may depend on, and their fingerprint
    minisign            public keys and signatures of minisign
    json_documents      documents of JSON, or a ValueError
    progress            progress of long stages
    interruption        Ctrl-C that no library can swallow
    bytecode_cache      facts that take long to work out, kept from run to run
    allocation          freed memory that stays with the process until a block ends
    __main__            `python -m fpm`: the command line

Imports: fpm.
"""
