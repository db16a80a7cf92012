"""The page that one keeps open: views as plain data, and their HTML.

Begin at `views`.

    views     a view as data: tiles, cards, tables, what to type
    sheets    HTML of a view, and what the server sends beside it
    marks     states as a word and a shape, moments and ages as text
    drawings  plots as small SVG
    tonight   which nights are open, their steps, what is served
    factor    figures of the served scores as their labels mature
    names     one symbol, its questions, and the search for it
    stock_days what the encoder saw on a day, and the days most like it
    portfolio the portfolios of a session
    lineage   where a number came from, and what rests on it
    messages  what there is to say where there is no view

The template `view.html.j2`, the style `page.css`, the keys `page.js` and `icon.svg` stand beside them.

Imports: fpm.evaluation, fpm.report.
"""
