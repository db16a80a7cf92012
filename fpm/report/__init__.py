"""Figures become pages, text and a sealed passport.

Begin at `page`.

    data              contents of a report as plain data
    sections          the order of a report's plots and tables
    tables            every table of the report by name
    factor_tables     tables of a factor's figures
    portfolio_tables  tables of the index-enhanced portfolios
    risk_test         table and plots of the risk model's forecast test
    morning           the morning page and its Markdown twin
    morning_tables    tables of the morning page
    period_tables     a portfolio's figures by year and month
    line_chart        lines over sessions as a small SVG
    trading_tables    outer names, costs and capacity
    verdict           what may be concluded, in four sentences
    provenance_tables tables of models, settings and data
    cells             rows and cells of a table as text
    page              the HTML report and its JSON twin
    markdown          the Markdown twin
    charts            plots of a factor's figures
    encoder_charts    plots of an encoder and of one session
    pages             small pages in the look of the report
    templates         HTML from the templates, plots packed
    figure_text       figures as text
    passport          figures and the hashes of all they follow from

Templates, styles and a script (`report`, `page` and `morning` with `.html.j2`, `page.css`, `morning.css`, `plots.js`)
stand beside them.

Imports: fpm, fpm.evaluation, fpm.portfolio.
"""
