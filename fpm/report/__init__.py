"""Figures become pages, text and a sealed passport.

Begin at `page`.

    data            what a report says, as plain data
    sections        the order of a reader's questions
    tables          every table of the report as text
    page            the HTML report and its JSON twin
    markdown        the Markdown twin
    charts          plots of a factor's figures
    encoder_charts  plots of an encoder and of one session
    pages           small pages in the look of the report
    figure_text     spelling of figures
    passport        figures and the hashes of all they follow from

Templates and styles (`report.html.j2`, `page.html.j2`, `page.css`) stand beside the modules.

Imports: fpm, fpm.evaluation, fpm.portfolio.
"""
