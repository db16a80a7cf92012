"""What a person asks and no night runs.

Begin at `report`.

    report          the page, its twins, its passport
    judgement       the figures of every stream
    provenance      what the figures rest on
    lessons         whether any model was trained on what it is judged by
    page_links      links between the pages of one folder
    passport        the sealed document: issued, and checked
    enhance         an index's portfolio over a span, its figures and its export
    walk_needs      what that span needs before it begins
    decisions       the newest decision of each index
    instructions    approvals and holds of a person
    attribution     where its excess return came from
    risk            whether the risk model's forecasts came true, night by night; rows for a metric
    switches        the risk model's switches on a home's own history
    morning         the page of a session: orders and why, fills, bounds, curves, origin
    peers           other models on the scorer's folds
    peer_inputs     what some of them read besides the scorer's inputs
    protocol        the dual stream beside every peer of docs/protocol.md
    encoder_report  whether a vintage has collapsed
    stock_days      the session and symbol of a question, and their refusals
    explain         what the encoder saw in one session
    explain_page    the page that shows it
    similar         the stock-days most like one
    replay          a night's scores again
    replay_portfolio  its book, decision and orders again
    integrity       lake, models and online rows against the ledger
    diff            what changed between two moments of knowledge
    leaks           the leak suite on a home's own tables
    leak_inputs     what the leak suite recomputes
    leak_running    its check of the running session
    leak_vectors    the same of vectors from outside

Imports: consumers, fpm, fpm.evaluation, fpm.features, fpm.leaks, fpm.nn, fpm.nn.encoder, fpm.nn.scorer, fpm.portfolio,
fpm.report, fpm.risk, fpm.store, fpm.store.frames, fpm.store.jobs, fpm.store.lake, fpm.store.ledger, fpm.store.online.
"""
